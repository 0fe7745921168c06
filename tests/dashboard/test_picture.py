"""What is drawn of a finding: slice, race, words, graph, versions. No store: its answers are given."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import sample

from noclobber_dashboard.components.prose import Node, text_of
from noclobber_dashboard.diagram import diagram_data
from noclobber_dashboard.graph import quoted, witness_dot
from noclobber_dashboard.pages.finding_states import lost, states
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import AccessRecord, FindingBody, FindingHead
from noclobber_dashboard.retelling import sentence
from noclobber_dashboard.slices import CONTEXT_MAX, EVENTS_MAX, Slice, cut_slice, race_of
from noclobber_dashboard.versions import VersionNames, version_uses

START = 1_700_000_000_000_000_000


class Rows:
    """A store that answers every question with the same rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def dicts(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows, whatever is asked."""
        return self._rows


def bank(extra: list[dict[str, object]] | None = None, *, whole: bool = False) -> tuple[FindingBody, Slice]:
    finding, rows = sample.bank(START)
    body = FindingBody.from_json(finding.to_json())
    return body, cut_slice(body, Queries(Rows([*rows, *(extra or [])])), whole=whole)


def test_the_race_is_the_unordered_edge() -> None:
    """The pair of an edge of type unordered races, in the order of its starts, with the edge's own words."""
    body, cut = bank()
    ops = {event.key: (event.agent, event.op) for event in cut.events}
    assert cut.race is not None
    assert [ops[key] for key in cut.race] == [("deposit-agent", "write"), ("withdraw-agent", "write")]
    assert "no message" in cut.race_why
    assert race_of(body)[0] == cut.race


def test_without_that_edge_roles_name_the_race() -> None:
    """A finding without the edge still shows who overwrote whom."""
    finding, _ = sample.bank(START)
    plain = sample.replace_finding(finding, edges=())
    race, why = race_of(FindingBody.from_json(plain.to_json()))
    by_role = {a.role: f"{a.trace_id}:{a.span_id}" for a in finding.accesses}
    assert race == (by_role["victim"], by_role["overwriter"])
    assert why


def test_edges_say_their_evidence() -> None:
    """Base edges come from attributes or witness, reads-from from versions; each has a type and words."""
    _, cut = bank()
    ops = {event.key: f"{event.agent} {event.op}" for event in cut.events}
    assert {(ops[e.source], e.type, ops[e.target]) for e in cut.edges} == {
        ("withdraw-agent read", "base", "withdraw-agent write"),
        ("deposit-agent read", "base", "deposit-agent write"),
        ("withdraw-agent write", "reads-from", "auditor read"),
    }
    assert all(edge.why for edge in cut.edges)


def test_the_stale_read_is_the_base_of_the_later_write() -> None:
    """Only the read that the overwriting write was computed from is marked stale."""
    _, cut = bank()
    stale = [event for event in cut.events if event.key in cut.stale]
    assert [(event.agent, event.op) for event in stale] == [("withdraw-agent", "read")]


def test_a_slice_is_bounded() -> None:
    """Of hundreds of accesses nearby few are drawn, the whole never above the maximum, and the rest is counted."""
    crowd = sample.crowd(START, events=400)
    _, near = bank(crowd)
    _, whole = bank(crowd, whole=True)
    assert (len(near.events), near.omitted) == (CONTEXT_MAX, 407 - CONTEXT_MAX)
    assert (len(whole.events), whole.omitted) == (EVENTS_MAX, 407 - EVENTS_MAX)
    assert set(near.race or ()) <= {event.key for event in near.events}


def test_accesses_that_are_gone_are_drawn_from_the_finding() -> None:
    """A finding whose spans have expired still has its picture."""
    finding, _ = sample.bank(START)
    cut = cut_slice(FindingBody.from_json(finding.to_json()), Queries(Rows([])))
    assert len(cut.events) == len(finding.accesses)
    assert cut.race is not None


def test_the_diagram_is_json_with_words() -> None:
    """Boxes carry op and version letter, the racing two are marked, and everything can be sent as JSON."""
    _, cut = bank()
    data = json.loads(json.dumps(diagram_data(cut, "lost_update", sample.ACCOUNT)))
    labels = [(event["label"], event["race"], event["stale"]) for event in data["events"]]
    assert labels == [
        ("read A", False, False), ("model call", False, False), ("read A", False, True), ("model call", False, False),
        ("write B", True, False), ("write C", True, False), ("read C", False, False),
    ]  # fmt: skip
    assert [lane["racing"] for lane in data["lanes"]] == [True, True, False]
    assert data["race"]["label"] == "unordered conflict"


def test_the_causal_past_leaves_out_what_came_after() -> None:
    """The auditor's later read is no part of what led to the race."""
    _, cut = bank()
    data = diagram_data(cut, "lost_update", sample.ACCOUNT)
    assert [event["past"] for event in data["events"]] == [True] * 6 + [False]


def test_versions_tell_who_made_and_who_replaced() -> None:
    """Three states: what was there, the one overwritten, the one that stands."""
    _, cut = bank()
    uses = version_uses(cut.events, sample.ACCOUNT)
    assert [(use.made_by, use.read_by, use.replaced_by) for use in uses] == [
        ([], ["deposit-agent", "withdraw-agent"], []),
        (["deposit-agent"], [], ["withdraw-agent"]),
        (["withdraw-agent"], ["auditor"], []),
    ]


def test_numbers_are_shown_as_numbers() -> None:
    """A counter's version keeps its number; a print of digits only is still a print."""

    def made(resource: str, kind: str) -> AccessRecord:
        return AccessRecord(
            trace_id="t", span_id=resource, start_ns=1, end_ns=2, op="read", resource=resource, agent="a", strand="s",
            version_kind=kind, version_read="7",
        )  # fmt: skip

    names = VersionNames([made("row", "counter"), made("key", "fingerprint")])
    assert (names.name("row", "7"), names.name("key", "7"), names.name("key", "absent")) == ("v7", "A", "nothing")


def test_the_graph_quotes_every_name() -> None:
    """No name ends its label, begins an attribute or becomes an entity."""
    assert quoted('a"];x [URL="javascript:1') == '"a\\"];x [URL=\\"javascript:1"'
    assert quoted("b\\N\n&lt;\x00") == '"b\\\\N\\n&amp;lt; "'
    body, cut = bank()
    dot = witness_dot(body, VersionNames(cut.events))
    assert dot.count("dir=both") == 1
    assert dot.count('label="then"') == 1
    assert "deposit-agent" in dot


def test_a_name_of_several_lines_is_one_line_of_its_box() -> None:
    """Graphviz in a browser fails on some labels that begin with a line end: a box has the lines that we give it."""
    agents = ('\n=HYPERLINK("http://x","y")', "x\ny")
    finding, rows = sample.race(1, "redis://bank:6379/0/a\nb", agents, START)
    body = FindingBody.from_json(finding.to_json())
    dot = witness_dot(body, VersionNames(cut_slice(body, Queries(Rows(rows))).events))
    assert 'label="=HYPERLINK(\\"http://x\\",\\"y\\")\\nread a b A\\nreader"' in dot


def test_a_body_from_another_version_is_read_as_far_as_it_goes() -> None:
    """Unknown fields, missing fields, single values for lists and broken JSON never end in an error."""
    strange = (
        '{"advice": "do it", "missing": "x", "affected": [1], "accesses": [{"op": "read", "new": 1}, 7], "edges": [{}]}'
    )
    body = FindingBody.from_json(strange)
    assert (body.advice, body.missing, len(body.accesses)) == ((("do it", ""),), ("x",), 1)
    assert FindingBody.from_json("[").accesses == ()


def test_a_sentence_is_typeset_without_its_backticks() -> None:
    """Agents bold, the resource and what else stands in backticks as code; a name with a backtick breaks nothing."""
    finding, _ = sample.bank(START)
    said = "`deposit-agent` wrote `acct:42`, made by withdraw-agent: see `noclobber run --exact`."
    head = FindingHead(
        "i", 1, "i", "lost_update", "likely", "high", True, "open", sample.ACCOUNT, finding.agents, 1, 2, 3
    )
    node = sentence(head, FindingBody.from_json(json.dumps({"explanation": said})))
    assert text_of(node) == said.replace("`", "")
    assert [(child.tag, text_of(child)) for child in node.children if isinstance(child, Node)] == [
        ("b", "deposit-agent"), ("code", "acct:42"), ("b", "withdraw-agent"), ("code", "noclobber run --exact"),
    ]  # fmt: skip
    odd = FindingHead("i", 1, "i", "fork", "likely", "high", True, "open", "a`b", ("`", "x`y"), 1, 2, 3)
    assert "x`y" in text_of(sentence(odd, FindingBody.from_json('{"explanation": "x`y wrote a`b after `"}')))


def either() -> tuple[FindingBody, Slice]:
    """The bank's race where nobody knows which write came first."""
    finding, rows = sample.bank(START)
    accesses = tuple(
        msgspec.structs.replace(ref, role="either") if ref.op == "write" else ref for ref in finding.accesses
    )
    rows = [{name: value for name, value in row.items() if name != "version_overwritten"} for row in rows]
    body = FindingBody.from_json(sample.replace_finding(finding, accesses=accesses).to_json())
    return body, cut_slice(body, Queries(Rows(rows)))


def strip(body: FindingBody, cut: Slice) -> tuple[Node, list[tuple[str, str]]]:
    head = FindingHead(
        id="1", revision=1, issue="2", kind="lost_update", certainty="likely", severity="high", manifest=True,
        status="open", resource=sample.ACCOUNT, agents=("deposit-agent", "withdraw-agent"), first_ns=1, last_ns=2,
        found_ns=3,
    )  # fmt: skip
    node = states(version_uses(cut.events, head.resource), cut, head)
    return node, [(name, text_of(value)) for name, value in lost(cut, head.resource)]


def test_the_states_say_what_was_lost() -> None:
    """The victim's state was overwritten unseen, and the strip of facts names it with its print and size."""
    node, facts = strip(*bank())
    assert "overwritten unseen by withdraw-agent" in text_of(node)
    assert facts == [("lost", "B 3be07d 3 bytes"), ("in its place", "C e52a99 2 bytes")]


def test_the_states_leave_an_open_order_open() -> None:
    """Where the sentence does not know which came first, neither do the states: no arrow, both perhaps lost."""
    node, facts = strip(*either())
    words = text_of(node)
    assert "overwritten unseen" not in words
    assert "lost, if withdraw-agent wrote after it" in words
    assert "lost, if deposit-agent wrote after it" in words
    looks = [box.look for box in node.children[1].children]  # type: ignore[union-attr]  # a node of nodes
    assert looks == ["version", "version beside lost", "version lost"]
    assert facts == [("lost", "either B 3be07d 3 bytes or C e52a99 2 bytes")]


def test_what_rests_on_the_race_is_marked() -> None:
    """The auditor's read is drawn as affected, and drawn at all before others that merely are near."""
    finding, rows = sample.bank(START)
    body = FindingBody.from_json(finding.to_json())
    crowd = sample.crowd(START - 30 * sample.SECOND, events=80)
    cut = cut_slice(body, Queries(Rows([*rows, *crowd])))
    drawn = diagram_data(cut, "lost_update", sample.ACCOUNT)["events"]
    assert [event["tip"][0].split(" ")[0] for event in drawn if event["affected"]] == ["auditor"]
