"""The kit for other languages: each rule is broken by something, kept by what we send, and each story can be passed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber.cli import main
from noclobber.contract import FRONTIER_END, Guard, Op
from noclobber_analyzer.conformance.record import breaches_of
from noclobber_analyzer.conformance.rules import RULES
from noclobber_analyzer.conformance.stories import STORIES, differences
from noclobber_analyzer.conformance.wire import read_wire
from story import judge

RECORDED = Path(__file__).parents[2] / "docs" / "recorded"
START_NS = 1_700_000_000_000_000_000
Spans = list[dict[str, Any]]
PROCESS = {
    "service.name": "tally", "service.instance.id": "1", "host.name": "here", "process.pid": 7,
    "noclobber.process": "p", "noclobber.contract": "1", "noclobber.clock": "c", "noclobber.clock.offset_ns": 5,
    "noclobber.key_id": "k",
}  # fmt: skip


def span(number: int, op: str, **told: object) -> dict[str, Any]:
    """A span of strand `s`, numbered in order; names are the contract's, `__` for a dot."""
    own = {"op": op, "resource": "tally://here/x", "system": "tally", "outcome": "ok"}
    if op != Op.MARK:
        own |= {"agent": "a", "strand": "s", "seq": number}  # type: ignore[dict-item]
    own |= {name.replace("__", "."): value for name, value in told.items()}  # type: ignore[misc]
    attributes = {f"noclobber.{name}": value for name, value in own.items()}
    if op != Op.MARK:
        attributes["code.line.number"] = 3
    return {"id": f"{number:016x}", "op": op, "at": number, "attributes": attributes}


def good() -> Spans:
    """A record that keeps every rule: a read and a write, a scan, a transaction, and the last mark."""
    printed: dict[str, Any] = {"version__kind": "fingerprint"}
    inside: dict[str, Any] = {"txn__id": "t", "unit": "t", "unit__kind": "txn"}
    based: dict[str, Any] = {"version__base__source": "observed", "version__base__strand": "s", "version__base__seq": 1}
    return [
        span(1, "read", version__read="one", **printed),
        span(2, "write", version__base="one", version__written="two", **based, **printed),
        span(3, "scan", predicate="p", result__resources=["tally://here/x"], result__versions=["two"], **printed),
        span(4, "begin", **inside),
        span(5, "update", write__mode="increment", **inside),
        span(6, "commit", **inside),
        span(7, "mark", frontier_ns=FRONTIER_END, accesses=6, dropped=0),
    ]


def value(it: object) -> dict[str, Any]:
    match it:
        case bool():
            return {"boolValue": it}
        case int():
            return {"intValue": str(it)}
        case list():
            return {"arrayValue": {"values": [value(each) for each in it]}}
        case _:
            return {"stringValue": it}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name.removesuffix("+"), "value": value(it)} for name, it in attributes.items()]


def written(spans: Spans, process: dict[str, Any] | None = None) -> str:
    """The record as OTLP/JSON."""
    scopes = [{"scope": {"name": each.get("scope", "noclobber.tally")}, "spans": [otlp(each)]} for each in spans]
    resource = {"attributes": pairs(PROCESS if process is None else process)}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}) + "\n"


def otlp(each: dict[str, Any]) -> dict[str, Any]:
    start_ns = START_NS + each["at"] * 10
    return {
        "traceId": each.get("trace", "0" * 31 + "1"), "spanId": each["id"], "kind": each.get("kind", 1),
        "name": each.get("name", f"{each['op']} tally"), "attributes": pairs(each["attributes"]),
        "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(each.get("end", start_ns + 5)),
    }  # fmt: skip


def broken(tmp_path: Path, text: str, planted: Sequence[str] = ()) -> set[str]:
    """Names of the rules that a record breaks."""
    (tmp_path / "record.jsonl").write_text(text)
    return {breach.rule for breach in breaches_of(read_wire([str(tmp_path / "record.jsonl")]), planted)}


def put(number: int, **told: object) -> Callable[[Spans], None]:
    """Set attributes of a span; None takes one away."""

    def change(spans: Spans) -> None:
        for name, it in told.items():
            whole = f"noclobber.{name.replace('__', '.')}"
            if it is None:
                spans[number]["attributes"].pop(whole)
            else:
                spans[number]["attributes"][whole] = it

    return change


def form(number: int, **told: object) -> Callable[[Spans], None]:
    """Set what is not an attribute."""
    return lambda spans: spans[number].update(told)


def without(*numbers: int) -> Callable[[Spans], None]:
    """Take spans out."""

    def change(spans: Spans) -> None:
        spans[:] = [each for number, each in enumerate(spans) if number not in numbers]

    return change


BREAKS: dict[str, Callable[[Spans], None]] = {
    "span.ids": form(0, trace="0" * 32),
    "span.times": form(0, end=1),
    "span.name": form(0, name="GET"),
    "span.kind": form(0, kind=3),
    "span.scope": form(6, scope="redis"),
    "attribute.once": put(0, **{"seq+": 1}),
    "attribute.known": put(0, colour="red"),
    "attribute.type": put(0, open="yes"),
    "attribute.word": put(4, write__mode="upsert"),
    "attribute.required": put(0, agent=None),
    "resource.uri": put(0, resource="x"),
    "version.kind": put(0, version__read=None),
    "version.digits": put(2, version__kind="counter", version__read="two"),
    "version.absent": put(2, op="read", outcome="not_found", version__read=""),
    "version.refused": put(1, outcome="rejected", version__overwritten="one"),
    "base.source": put(1, version__base__source=None),
    "base.access": put(1, version__base="three"),
    "guard.expected": put(1, guard="version"),
    "unit.kind": put(1, unit="u"),
    "op.carries": put(2, predicate=None),
    "update.base": put(4, version__base="one", version__base__source="observed", version__kind="fingerprint"),
    "scan.results": put(2, result__versions=["two", "three"]),
    "mark.counts": put(6, seq=7),
    "seq.whole": without(2),
    "seq.order": form(1, at=0),
    "strand.parent": put(0, strand__parent="s", strand__parent__seq=9),
    "txn.begin": put(3, op="update", write__mode="append"),
    "mark.accesses": put(6, accesses=9),
    "mark.some": without(6),
    "mark.end": put(6, frontier_ns=5),
    "code.some": lambda spans: [each["attributes"].pop("code.line.number", None) for each in spans] and None,
}
BESIDES = {
    "seq.whole": {"mark.accesses"}, "version.kind": {"base.access"}, "span.scope": {"mark.some"},
    "version.absent": {"span.name"}, "txn.begin": {"span.name"},
}  # fmt: skip
"""What the same change breaks as well."""
OF_PROCESS: dict[str, dict[str, Any]] = {
    "resource.required": {**PROCESS, "process.pid": "7"},
    "resource.contract": {**PROCESS, "noclobber.contract": "0"},
    "resource.clock": {name: it for name, it in PROCESS.items() if name != "noclobber.clock.offset_ns"},
    "clock.some": {name: it for name, it in PROCESS.items() if "clock" not in name},
    "key.some": {**PROCESS, "noclobber.key_id": ""},
}


def test_a_good_record_breaks_nothing(tmp_path: Path) -> None:
    """As JSON lines and as protobuf, sent once and sent again."""
    text = written(good())
    assert broken(tmp_path, text) == set()
    assert broken(tmp_path, text + text) == set()
    request = json_format.ParseDict(in_protobufs_words(text), ExportTraceServiceRequest())
    (tmp_path / "record.pb").write_bytes(request.SerializeToString())
    assert breaches_of(read_wire([str(tmp_path / "record.pb")])) == []
    assert (
        list(read_wire([str(tmp_path / "record.pb")]))[1].attributes == list(read_wire([str(tmp_path)]))[1].attributes
    )


def in_protobufs_words(text: str) -> Any:
    """The library's JSON has ids in base64, where OTLP/JSON has them in hex."""
    import base64

    request = json.loads(text)
    for scope in request["resourceSpans"][0]["scopeSpans"]:
        for each in scope["spans"]:
            for name in ("traceId", "spanId"):
                each[name] = base64.b64encode(bytes.fromhex(each[name])).decode()
    return request


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_told_and_no_other(rule: str, tmp_path: Path) -> None:
    """One change to a good record."""
    spans = good()
    BREAKS[rule](spans)
    assert broken(tmp_path, written(spans)) == {rule, *BESIDES.get(rule, ())}


@pytest.mark.parametrize("rule", OF_PROCESS)
def test_a_resource_is_held_against_its_rules(rule: str, tmp_path: Path) -> None:
    """One change to the attributes of the process."""
    assert broken(tmp_path, written(good(), OF_PROCESS[rule])) == {rule}


def test_two_keys_are_told(tmp_path: Path) -> None:
    """Their fingerprints do not compare."""
    other = {**PROCESS, "noclobber.process": "q", "noclobber.key_id": "other"}
    spans = [span(1, "read", strand="r", version__kind="fingerprint", version__read="one"), good()[-1]]
    spans[1]["attributes"]["noclobber.accesses"] = 1
    for each in spans:
        each["trace"] = "0" * 31 + "2"
    assert broken(tmp_path, written(good()) + written(spans, other)) == {"key.one"}


def test_what_was_planted_is_found(tmp_path: Path) -> None:
    """Wherever it stands."""
    spans = good()
    spans[0]["attributes"]["noclobber.resource"] = "tally://here/launch-code"
    assert broken(tmp_path, written(spans), ["launch-code"]) == {"secret.sent"}


def test_every_rule_is_broken_somewhere() -> None:
    """None is there for show."""
    assert {*BREAKS, *OF_PROCESS, "key.one", "secret.sent"} == set(RULES)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_our_own_records_keep_the_contract(path: Path) -> None:
    """What real stores made our instrumentation send."""
    assert [each for each in breaches_of(read_wire([str(path)])) if RULES[each.rule].must] == []


PLAYED: dict[str, tuple[str, dict[str, object]]] = {
    "lost-update": ("Arx1 Brx1 Awx2<1^1 Bwx3<1^2", {}),
    "compare-and-set": ("Arx1 Brx1 Awx2<1 Bwx3<1!rejected Brx2 Bwx3<2", {"guard": Guard.VERSION}),
    "increment": ("Aux2 Bux3", {}),
    "lock": ("Al7 Arx1 Awx2<1 An7 Bl8 Brx2 Bwx3<2 Bn8", {}),
    "in-turn": ("Arx1 Awx2<1 Brx2 Bwx3<2", {}),
    "started": ("Arx1 Awx2<1 A*B Brx2 Bwx3<2", {}),
    "apart": ("Arx1 Bry1 Awx2<1 Bwy2<1", {}),
    "double-claim": ("Cs9 Ag9 Bg9 Ae9 Be9", {}),
    "claim-once": ("Cs7 Cs8 Cs9 Ag7 Bg8 Ak7 Ag9 Bk8 Ak9", {}),
    "write-skew": ("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", {}),
    "rolled-back": ("A[ Arx1 Awx2<1 A} B[ Brx1 Bwx3<1 B]", {}),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_that_is_played_right_is_passed(name: str) -> None:
    """By a record as it should be."""
    text, told_with = PLAYED[name]
    assert differences(STORIES[name], judge(text, **told_with)) == []


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if story.found or story.defended])
def test_a_story_that_was_not_played_is_not_passed(name: str) -> None:
    """Silence is no proof where something had to be seen."""
    assert differences(STORIES[name], judge(PLAYED["apart"][0])) != []


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if story.found is None])
def test_a_race_fails_each_safe_story(name: str) -> None:
    """Also those that ask for nothing else."""
    assert differences(STORIES[name], judge(PLAYED["lost-update"][0])) != []


def test_the_command_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes 0, 1 and 2; a place for each breach; for machines a line each."""
    record = tmp_path / "record.jsonl"
    record.write_text(written(good()))
    assert main(["conformance", str(record)]) == 0
    assert capsys.readouterr().out == "7 spans of noclobber's: the contract is kept\n"
    assert main(["conformance", "--story", "lost-update", str(record)]) == 1
    assert "lost_update was not found" in capsys.readouterr().out
    spans = good()
    BREAKS["attribute.known"](spans)
    record.write_text(written(spans))
    assert main(["conformance", "--format", "json", str(record)]) == 1
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["rule"], first["what"]) == ("attribute.known", "noclobber.colour")
    assert first["place"].endswith("record.jsonl:1, span 0000000000000001")
    assert last == {"summary": {"spans": 7, "kept": False, "story": []}}
    record.write_text('{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}\n')
    assert main(["conformance", str(record)]) == 2
    assert main(["conformance"]) == 2
    assert main(["conformance", "--story", "opera", str(record)]) == 2


def test_a_record_without_our_spans_is_no_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing broken, and nothing kept."""
    (tmp_path / "record.jsonl").write_text('{"resourceSpans": []}\n')
    assert main(["conformance", str(tmp_path)]) == 1
    assert "there is no span" in capsys.readouterr().out


def test_the_guide_lists_rules_and_stories_as_they_are() -> None:
    """Row by row."""
    page = (RECORDED.parents[0] / "guide" / "conformance.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {'must' if rule.must else 'should'} | {rule.section} | {rule.text} |" in page
    for name, story in STORIES.items():
        assert f"| `{name}` | {story.task} | {story.found or 'nothing'} | {story.defended or ''} |" in page
