"""What operators are told: declared metrics in a form that Prometheus reads, and whether spans are taken."""

import json
import logging
from pathlib import Path

import pytest
from made import accesses
from processes import Receiver, ask, wait_until
from prometheus_client.parser import text_string_to_metric_families

from noclobber_collector import logs, told
from noclobber_collector.metrics import COLLECTOR, Metric, exposition

LABELLED = Metric("noclobber_x", "gauge", "things", "Things", "test", "kind")


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """As Prometheus reads it."""
    families = text_string_to_metric_families(text.decode())
    return {(each.name, tuple(each.labels.items())): each.value for family in families for each in family.samples}


def test_every_declared_metric_is_told_with_its_type_and_meaning(tmp_path: Path) -> None:
    """By the receiver; the loader's too, as far as one has told of itself."""
    told.tell(tmp_path / "spool", {})  # no folder yet: nobody minds
    with Receiver(tmp_path) as receiver:
        told.tell(receiver.spool, {row.name: 7.0 for row in COLLECTOR if row.source == "loader"})
        text = ask(f"{receiver.http}/metrics").body
        families = {family.name: family for family in text_string_to_metric_families(text.decode())}
        for row in COLLECTOR:
            family = families[row.name.removesuffix("_total")]
            assert (family.type, family.documentation) == (row.kind, row.help)
        assert families["noclobber_loader_loaded_spans"].samples[0].value == 7
        assert 0 <= families["noclobber_loader_seen_seconds"].samples[0].value < 30
        assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_names_say_their_unit_and_whether_they_only_grow() -> None:
    """Prometheus's own rules."""
    for row in COLLECTOR:
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert row.unit in ("seconds", "bytes") or not row.name.removesuffix("_total").endswith(("seconds", "bytes"))
        assert row.help, row.name
        assert not row.help.endswith("."), row.name
    assert len({row.name for row in COLLECTOR}) == len(COLLECTOR)


def test_a_value_without_a_row_is_a_mistake() -> None:
    """Nobody counts what the guide does not tell."""
    with pytest.raises(KeyError):
        exposition(COLLECTOR, {"noclobber_surprise": 1.0})


def test_labels_come_back_as_they_went_and_are_bounded() -> None:
    """Other people's text, and no more of it than a scrape bears."""
    nasty = 'a"b\\c\nd'
    found = samples(exposition((LABELLED,), {"noclobber_x": {nasty: 2.0}}))
    assert found["noclobber_x", (("kind", nasty),)] == 2
    many = {f"process-{number}": float(number) for number in range(1_000)}
    found = samples(exposition((LABELLED,), {"noclobber_x": many}))
    kept = [name for name, _ in found if name == "noclobber_x"]
    assert len(kept) == 200
    assert found["noclobber_x", (("kind", "process-999"),)] == 999


def test_a_receiver_without_room_lives_and_is_not_ready(tmp_path: Path) -> None:
    """And says why; what is refused is counted by spans."""
    data = accesses(100).SerializeToString()
    with Receiver(tmp_path, "--spool-bytes-max", str(len(data) * 3)) as receiver:
        sent = 0
        while receiver.send(data).status == 200:
            sent += 100
        ready = ask(f"{receiver.http}/ready")
        assert (ready.status, b"the spool holds its limit" in ready.body) == (503, True)
        assert ask(f"{receiver.http}/live").status == 200
        metrics = receiver.metrics()
        assert metrics["spans_total"] == sent > 0
        assert metrics["refused_spans_total"] == 100 * metrics["refused_total"] > 0
        assert metrics["received_spans_total"] == metrics["spans_total"] + metrics["refused_spans_total"]
        assert metrics["spool_bytes"] > 0.5 * metrics["spool_bytes_max"]
        wait_until(lambda: receiver.metrics()["spool_segments"] >= 1, what="the close of a segment")


def test_logs_are_objects_where_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the advice and the trace in them; else lines for people that carry the same."""
    monkeypatch.setenv("NOCLOBBER_LOG", "json")
    before = logging.getLogger().handlers[:]
    try:
        logs.begin("engine")
        log = logging.getLogger("noclobber.test")
        log.warning("the store %s is slow", "x\ny", extra=logs.advice("look after it"))
        try:
            raise ValueError("odd")
        except ValueError:
            log.exception("failed")
        logs.say_as("supervisor")("noclobber: the engine ended")
        monkeypatch.delenv("NOCLOBBER_LOG")
        logs.begin("engine")
        log.warning("slow", extra=logs.advice("look"))
    finally:
        logging.getLogger().handlers[:] = before
    *objects, line = capsys.readouterr().err.splitlines()
    first, second, third = map(json.loads, objects)
    assert (first["message"], first["advice"], first["level"], first["process"]) == (
        "the store x\ny is slow", "look after it", "WARNING", "engine",
    )  # fmt: skip
    assert "ValueError: odd" in second["trace"]
    assert (third["message"], third["process"]) == ("the engine ended", "supervisor")
    assert line.endswith("WARNING noclobber.test slow [look]")
