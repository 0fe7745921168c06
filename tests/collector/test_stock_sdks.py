"""Stock OpenTelemetry SDKs, in Python and JavaScript, export over every protocol, and the store holds what they sent.

The JavaScript packages are installed by `npm install` in `tests/collector/javascript` (continuous integration does it);
where node or they are absent, these tests are skipped.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from processes import Receiver

from noclobber_collector.loader import Loader
from noclobber_collector.segments import closed_segments
from noclobber_collector.store import Store

HERE = Path(__file__).parent
JAVASCRIPT = HERE / "javascript"
TOKEN = "tok-stock"
COUNT = 300
PACKED = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
Program = tuple[list[str], str]
PYTHON: tuple[Program, ...] = tuple(
    ([sys.executable, str(HERE / "sdk_program.py"), way], "grpc" if way == "grpc" else "http")
    for way in ("grpc", "http")
)
NODE: tuple[Program, ...] = tuple(
    (["node", str(JAVASCRIPT / "sdk_program.js"), way], "grpc" if way == "grpc" else "http")
    for way in ("grpc", "http/protobuf", "http/json")
)


@pytest.fixture
def javascript() -> None:
    """Skip where there is no JavaScript SDK."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (JAVASCRIPT / "node_modules" / "@opentelemetry").is_dir() and not os.environ.get("NODE_PATH"):
        pytest.skip("the JavaScript SDK is not installed: npm install --prefix tests/collector/javascript")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver that asks for a token, as SDKs are told of one."""
    with Receiver(tmp_path, token=TOKEN) as made:
        yield made


def export(receiver: Receiver, programs: Sequence[Program], **variables: str) -> set[tuple[str, str]]:
    """Run programs at once; the ids that they printed. None of them may complain."""
    running = []
    for words, way in programs:
        port = receiver.grpc_port if way == "grpc" else receiver.http_port
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
            "OTEL_SERVICE_NAME": "stock",
            **variables,
        }
        running.append(
            subprocess.Popen(
                [*words, str(COUNT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, **told},
            )
        )  # fmt: skip
    ids: set[tuple[str, str]] = set()
    for process in running:
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        ids |= {(trace, span) for trace, span in map(str.split, out.splitlines())}
    assert len(ids) == COUNT * len(programs)
    return ids


def assert_stored(receiver: Receiver, store: Store, ids: set[tuple[str, str]]) -> None:
    """Every span stands in the store, with all that was in it."""
    receiver.stop()
    loader = Loader(store, receiver.spool)
    loader.start()
    assert loader.stop(60)
    assert not closed_segments(receiver.spool)
    rows = store.rows("SELECT lower(hex(trace_id)), lower(hex(span_id)) FROM accesses")
    assert len(rows) == len(ids)
    assert set(rows) == ids
    whole = store.rows(
        "SELECT count() FROM otel_traces WHERE ServiceName != '' AND ScopeName = 'stock' AND ScopeVersion = '1.2' "
        "AND startsWith(SpanName, 'call ') AND SpanAttributes['text'] = 'ünïcode' AND SpanAttributes['share'] = '0.5' "
        "AND SpanAttributes['yes'] = 'true' AND SpanAttributes['big'] IN ('9007199254740993', '9007199254740991') "
        "AND SpanAttributes['list'] LIKE '%a%b%' AND `Events.Name` = ['retry']"
    )
    assert whole == [(len(ids),)]


def test_python(receiver: Receiver, store: Store) -> None:
    """Two processes over each protocol, plain and packed."""
    assert_stored(receiver, store, export(receiver, PYTHON) | export(receiver, PYTHON, **PACKED))


def test_javascript(receiver: Receiver, store: Store, javascript: None) -> None:
    """A process over each of its three protocols at once, plain and packed, and one of Python's beside them."""
    ids = export(receiver, [*NODE, PYTHON[0]]) | export(receiver, NODE, **PACKED)
    assert_stored(receiver, store, ids)
