"""What an agent pays: CPU of the calling thread and of the process, start-up, size. Ratios within one run.

Source: capture.md, section 8. Times are CPU times of medians of alternating rounds, since walls over sockets on a
loaded machine say nothing.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import noclobber
from noclobber import recorder
from noclobber.settings import Settings
from noclobber.stores import redis as hooks
from noclobber.testing import capture

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).parents[2]
CALLS = 5000
ROUNDS = 9


class Client:
    """A redis client whose command takes no time: what is left is the instrumentation."""

    def __init__(self) -> None:
        import redis

        self.connection_pool = redis.Redis().connection_pool

    def execute_command(self, *args: Any, **options: Any) -> bytes:
        return b"one hundred and fifty"


class Hooked(Client):
    execute_command = hooks._sync_call(Client.execute_command)


class Discards(recorder.Sink):
    def send(self, resource: Any, spans: Any, accesses: int) -> bool:
        from noclobber.otlp import request_bytes

        request_bytes(resource, spans)
        return True


def medians(*bodies: Callable[[], object], clock: Callable[[], int] = time.thread_time_ns) -> list[float]:
    """Microseconds of CPU a call, each body's median over alternating rounds."""
    took: list[list[float]] = [[] for _ in bodies]
    for _ in range(ROUNDS):
        for body, times in zip(bodies, took, strict=True):
            start = clock()
            body()
            times.append((clock() - start) / CALLS / 1000)
    return [statistics.median(times) for times in took]


def calling(client: Any) -> Callable[[], object]:
    def body() -> None:
        call = client.execute_command
        for _ in range(CALLS):
            call("GET", "acct:42")

    return body


def test_a_get_costs_the_caller_a_quarter_of_the_stock_instrumentation() -> None:
    """Added CPU in the caller's thread; and in the whole process, both sides encoding OTLP in the background."""
    pytest.importorskip("opentelemetry.instrumentation.redis", reason="stock redis belongs to the extra `test`")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Encodes(), max_queue_size=CALLS * 2))
    stock = calling(_stock_client(provider))
    mine = recorder.Recorder(Settings(ring_max=1 << 30), Discards())
    before = recorder.swap(mine)
    hooked, plain = calling(Hooked()), calling(Client())
    try:

        def hooked_and_drained() -> None:
            hooked()
            mine._one_round()

        def stock_and_exported() -> None:
            stock()
            provider.force_flush()

        bare, caller, stock_caller = medians(plain, hooked, stock)
        mine._one_round()
        provider.force_flush()
        whole, stock_whole = medians(hooked_and_drained, stock_and_exported, clock=time.process_time_ns)
    finally:
        recorder.swap(before)
        provider.shutdown()
    added, stock_added = caller - bare, stock_caller - bare
    print(f"\nGET: caller +{added:.2f} us, stock +{stock_added:.1f}; process +{whole:.1f} us, stock +{stock_whole:.1f}")
    assert added / stock_added <= 0.25
    assert whole / stock_whole <= 0.75


class _Encodes(SpanExporter):
    """Does what an OTLP exporter does but for the network."""

    def export(self, spans: Any) -> SpanExportResult:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def _stock_client(provider: Any) -> Any:
    """The same client under the stock instrumentation."""
    import redis
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    stock = redis.Redis()
    stock._execute_command = lambda *args, **options: b"one hundred and fifty"  # type: ignore[method-assign]
    RedisInstrumentor.instrument_client(stock, tracer_provider=provider)
    return stock


def test_tracked_costs_microseconds() -> None:
    """A tracked dictionary is for state that agents share, not for inner loops: its cost is bounded, and known."""
    plain: dict[str, int] = {"a": 1}
    with capture(fixed=False, ring_max=1 << 30) as captured:
        shared = noclobber.tracked(dict(plain), name="s")

        def use(target: Any) -> Callable[[], object]:
            def body() -> None:
                captured.recorder._ring.clear()
                for _ in range(CALLS):
                    target["a"]

            return body

        bare, tracked = medians(use(plain), use(shared))
    print(f"\ntracked read: {tracked:.2f} us, bare {bare:.3f}")
    assert tracked - bare < 15


def _cpu_ms(code: str) -> float:
    """CPU that a program says it took, median of several starts."""
    times = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        times.append(float(done.stdout))
    return statistics.median(times)


def test_importing_costs_little() -> None:
    """`import noclobber` is far below 150 ms of CPU, everything behind it loaded below as well."""
    code = "import time; t = time.process_time(); import noclobber; {}; print((time.process_time() - t) * 1000)"
    alone, everything = _cpu_ms(code.format("pass")), _cpu_ms(code.format("noclobber.instrument; noclobber.tracked"))
    print(f"\nimport noclobber {alone:.1f} ms, with its API loaded {everything:.1f} ms")
    assert alone <= 150
    assert everything <= 250


def test_run_adds_little_to_a_start(tmp_path: Path) -> None:
    """`noclobber run` adds at most 250 ms of CPU to a program that imports redis and SQLAlchemy."""
    import resource

    def cpu_ms(*command: str) -> float:
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        return statistics.median(times)

    program = [sys.executable, "-c", "import redis, sqlalchemy"]
    run = [sys.executable, "-m", "noclobber", "run", "--file", str(tmp_path / "out"), "--file-only", "--"]
    plain, instrumented = cpu_ms(*program), cpu_ms(*run, *program)
    print(f"\nstart: plain {plain:.0f} ms, with noclobber run {instrumented:.0f} ms of CPU")
    assert instrumented - plain <= 250


@pytest.mark.long
def test_the_base_install_is_small(tmp_path: Path) -> None:
    """What `pip install noclobber` brings, all dependencies included, is at most 50 MB."""
    import tomllib

    base = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--target",
        str(tmp_path / "site"),
        *base,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    folders = [tmp_path / "site", ROOT / "instrumentation" / "noclobber"]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    print(f"\nbase install: {size / 1e6:.1f} MB")
    assert size <= 50e6
