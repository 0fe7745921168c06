"""The doctor: each thing that can be wrong is said, with what to do; what is fine is said to be so."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made import ACCESS, PROCESS, request

from noclobber.cli import main
from noclobber.contract import FRONTIER_END, Attr
from noclobber.settings import Settings
from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store, open_store
from noclobber_sidecar import doctor_reach
from noclobber_sidecar.doctor_lines import Line, State
from noclobber_sidecar.doctor_record import record

MARK = {Attr.OP: "mark", Attr.RESOURCE: "process://p", Attr.SYSTEM: "noclobber", Attr.OUTCOME: "ok"}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = open_store(f"chdb://{tmp_path_factory.mktemp('store')}")
    yield made
    made.close()


@pytest.fixture
def recorded(embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[Line]]]:
    """What the doctor says of a store that holds these requests, by area."""
    monkeypatch.chdir(tmp_path)
    for table in ("accesses", "ingest", "minute_stats"):
        embedded.command(f"TRUNCATE TABLE {table}")

    def ask(*requests: Any) -> dict[str, list[Line]]:
        spool = Spool(tmp_path / "spool")
        for made in requests:
            data = made.SerializeToString()
            spool.put(data, count_spans(data)).result(10)
        spool.close()
        loader = Loader(embedded, tmp_path / "spool")
        loader.start()
        assert loader.stop(30)
        found: dict[str, list[Line]] = {}
        for line in record(embedded):
            found.setdefault(line.area, []).append(line)
        return found

    return ask


def problems(lines: list[Line]) -> list[str]:
    return [line.text for line in lines if line.state is State.PROBLEM]


def mark(process: dict[str, object], at_s: float = 0.0, **more: object) -> Any:
    """A mark that was made so many seconds from now."""
    made = request([{**MARK, Attr.FRONTIER_NS: FRONTIER_END, **more}], process)
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns() + int(at_s * 1e9)
    return made


def test_a_sound_record(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Nothing is wrong, and every area says so."""
    found = recorded(request([{**ACCESS, Attr.SEQ: n} for n in (1, 2, 3)]), mark(dict(PROCESS), accesses=3))
    assert found.keys() == {"dropped", "clocks", "keys", "names", "store"}
    assert [line.text for lines in found.values() for line in lines if line.state is State.PROBLEM] == []
    assert found["dropped"][0].text == "3 accesses of 1 processes are stored"


def test_an_empty_record(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Nothing is known, which is not the same as fine."""
    assert recorded()["clocks"][0].state is State.NOTE


def test_holes_and_drops_are_counted_by_process(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Numbers of a strand that are missing, and what agents say that they dropped."""
    found = recorded(
        request([{**ACCESS, Attr.SEQ: n} for n in (2, 5)]),
        request([{**ACCESS, Attr.SEQ: 1, Attr.STRAND: "s2", Attr.PARTIAL: True}]),
        mark(dict(PROCESS), **{Attr.DROPPED: 7}),
    )
    holes, dropped = problems(found["dropped"])
    assert holes == "3 accesses were made and never arrived: bank (pid 4711): 3"
    assert dropped == "7 accesses were dropped by agents: bank (pid 4711): 7"
    assert "1 accesses say that their capture is incomplete" in [line.text for line in found["dropped"]]


def test_a_process_that_switched_itself_off_is_named(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Its marks are partial: it recorded no more, and says how many calls passed."""
    off = mark(dict(PROCESS), **{Attr.DROPPED: 9, Attr.PARTIAL: True})
    found = recorded(request([{**ACCESS, Attr.SEQ: 1}]), off)
    dropped, resting = problems(found["dropped"])
    assert dropped == "9 accesses were dropped by agents: bank (pid 4711): 9"
    assert resting == "recording switched itself off, calls passed unseen: bank (pid 4711): 9"
    assert not [line.text for line in found["dropped"] if "capture is incomplete" in line.text]


@pytest.mark.parametrize(("at_s", "text"), [(30.0, "its clock is ahead by"), (-60.0, "behind by up to 60."), (0.0, "")])
def test_clocks_that_are_apart(recorded: Callable[..., dict[str, list[Line]]], at_s: float, text: str) -> None:
    """A mark can't arrive before it was made: the least delay of each clock bounds its error."""
    other = {**PROCESS, "noclobber.process": "b", "noclobber.clock": "c2", "host.name": "other"}
    found = recorded(mark(dict(PROCESS)), mark(other, at_s), mark(other, at_s - 5))
    if text:
        (line,) = problems(found["clocks"])
        assert line.startswith("other (1 process, bank)")
        assert text in line
    else:
        assert problems(found["clocks"]) == []
    assert "2 clocks, at most" in found["clocks"][-1].text


def test_clocks_that_exchanged_something(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Messages there and back bound the difference of two machines' clocks, and each pair of clocks is told."""
    other = {**PROCESS, "noclobber.process": "b", "noclobber.clock": "c2", "host.name": "other"}
    there, back = {"noclobber.message.id": "there"}, {"noclobber.message.id": "back"}
    queue = {**ACCESS, Attr.RESOURCE: "redis://h/q", Attr.SEQ: 1}
    away = {**queue, Attr.STRAND: "s2"}
    spans = [({**queue, Attr.OP: "send", **there}, PROCESS, 0), ({**away, Attr.OP: "receive", **there}, other, 10),
             ({**away, Attr.SEQ: 2, Attr.OP: "send", **back}, other, 20),
             ({**queue, Attr.SEQ: 2, Attr.OP: "receive", **back}, PROCESS, 30)]  # fmt: skip
    made = []
    for attributes, process, at_ms in spans:
        one = request([attributes], dict(process))
        span = one.resource_spans[0].scope_spans[0].spans[0]
        span.start_time_unix_nano = 1_700_000_000_000_000_000 + at_ms * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
        made.append(one)
    found = recorded(mark(dict(PROCESS)), mark(other), *made)
    (told,) = [line.text for line in found["clocks"] if "pairs of spans" in line.text]
    assert "is at most 11 ms behind and 11 ms ahead of" in told
    assert told.endswith("by 2 pairs of spans")


def test_two_keys_on_one_resource(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Their fingerprints do not compare."""
    other = {**PROCESS, "noclobber.process": "b", "noclobber.key_id": "k2"}
    found = recorded(request([dict(ACCESS)]), request([{**ACCESS, Attr.STRAND: "s2"}], other))
    (line,) = problems(found["keys"])
    assert line == "1 resources are printed under different keys: redis://127.0.0.1:6379/0/acct:42 under k1, k2"


def test_one_server_under_two_names_and_two_under_one(recorded: Callable[..., dict[str, list[Line]]]) -> None:
    """Ports tell servers of one address apart."""

    def access(authority: str, peer: str) -> dict[str, object]:
        return {
            **ACCESS,
            Attr.RESOURCE: f"redis://{authority}/0/k",
            Attr.PEER_ADDRESS: peer,
            Attr.STRAND: authority + peer,
        }

    found = recorded(
        request(
            [access("cache:6379", "10.0.0.1"), access("10.0.0.1:6379", "10.0.0.1"), access("cache:6380", "10.0.0.1")]
        )
    )
    assert problems(found["names"]) == ["the server at 10.0.0.1 goes by 10.0.0.1:6379, cache:6379"]
    found = recorded(request([access("split:6379", "10.0.0.7"), access("split:6379", "10.0.0.8")]))
    assert "split:6379 is answered by 10.0.0.7, 10.0.0.8" in problems(found["names"])


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    """The engine itself starts over it and counts right."""
    program = (
        "import sys; from noclobber_collector.store import open_store\n"
        "from noclobber_sidecar.doctor_record import record\n"
        "store = open_store(sys.argv[1])\n"
        "rows = [(str(number), 'x' * 99) for number in range(5000)]\n"
        "if sys.argv[2] == 'fill': store.insert('transitions', ('id', 'body'), rows)\n"
        "else: print([line.text for line in record(store) if line.area == 'store'])\n"
        "store.close()\n"
    )
    words = [sys.executable, "-c", program, f"chdb://{tmp_path / 'store'}"]
    subprocess.run([*words, "fill"], check=True, timeout=60)
    (damaged, *_) = [
        path for path in (tmp_path / "store").rglob("*.bin") if path.stat().st_size > 2_000 and "/store/" in str(path)
    ]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(bytes(data))
    done = subprocess.run([*words, "ask"], check=True, timeout=60, capture_output=True, text=True)
    assert "damaged parts: transitions" in done.stdout


# -- what is around the record -------------------------------------------------------------------------------------


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", *words, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def texts(told: dict[str, Any]) -> str:
    return "\n".join(line["text"] for line in told["lines"])


def test_without_sidecar_store_or_collector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works, says what is missing, and leaves no trace."""
    monkeypatch.setenv("NOCLOBBER_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(doctor_reach, "_reasons", lambda names: dict.fromkeys(names, ""))
    code, told = run("--data", str(tmp_path / "none"), capsys=capsys)
    assert code == 1
    assert "the collector at http://127.0.0.1:1/v1/traces is not reached" in texts(told)
    assert "no sidecar has run on this machine" in texts(told)
    assert told["problems"] == sum(line["state"] == "problem" for line in told["lines"])
    assert not (tmp_path / "none").exists()


def test_unusable_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for every command."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--format", "yaml"])
    assert caught.value.code == 2


def test_a_store_that_does_not_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line about it; the rest is still asked."""
    monkeypatch.setattr(doctor_reach, "_reasons", lambda names: dict.fromkeys(names, ""))
    code, told = run("--store", "http://127.0.0.1:1/db", capsys=capsys)
    assert code == 1
    assert "the store at http://127.0.0.1:1/db does not answer" in texts(told)


def test_the_spool_is_looked_at(tmp_path: Path) -> None:
    """What waits too long, and what was set aside."""
    folder = tmp_path / "spool"
    spool = Spool(folder)
    spool.put(request([dict(ACCESS)]).SerializeToString(), 1).result(10)
    spool.close()
    told = list(doctor_reach.sidecar(tmp_path, asked=True))
    assert [line.text for line in told][1] == "1 spans (0.0 MB) in 1 segments wait to be loaded"
    assert problems(told) == []
    (segment,) = closed_segments(folder)
    segment.path.rename(folder / f"{1 << 40:020d}.1.seg")
    (folder / f"{2 << 40:020d}.1.refused").touch()
    late, refused = problems(list(doctor_reach.sidecar(tmp_path, asked=True)))
    assert "the oldest for" in late
    assert "1 segments that the store could not read" in refused


def test_libraries_are_really_hooked() -> None:
    """A Python is started as `noclobber run` does; what is switched off is said to be."""
    lines = {line.text.split(" ")[0].rstrip(":"): line for line in doctor_reach.instrumented(Settings())}
    assert lines["redis"].state is State.FINE
    assert "hooked under `noclobber run`" in lines["redis"].text
    assert lines["sqlite3"].state is State.FINE
    off = list(doctor_reach.instrumented(Settings(integrations=frozenset({"nothing"}))))
    assert {line.state for line in off} == {State.NOTE}
    (disabled,) = doctor_reach.instrumented(Settings(disabled=True))
    assert disabled.state is State.PROBLEM


def test_names_of_resources_do_not_reach_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    """They are other people's text."""
    from noclobber_sidecar.doctor import _show
    from noclobber_sidecar.doctor_lines import problem

    _show([problem("keys", "evil \x1b[2J\r name", "do\x07 it")], 1)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "evil ?[2J? name" in shown


def test_a_version_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that has not what is hooked of it is left alone, and that is said."""
    package = tmp_path / "etcd3gw"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lock.py").write_text("class Lock:\n    pass\n")
    (package / "client.py").write_text("class Etcd3Client:\n    def send(self):\n        pass\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    assert doctor_reach._reasons(["etcd3gw"]) == {"etcd3gw": "this version is not known, and left alone: no post"}
