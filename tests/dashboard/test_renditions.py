"""A finding as text, Markdown, ShiViz log and DOT: what others read of it, also where names are hostile."""

import json
import re
from typing import Any

import pytest
import sample
from hostile import CORPUS, HOSTILE
from test_picture import START, Rows

from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import FindingBody, FindingHead
from noclobber_dashboard.renditions import Form, rendered
from noclobber_dashboard.slices import Slice, cut_slice, program_pairs
from noclobber_dashboard.traces import trace_link

SHIVIZ = re.compile(r"(?P<host>\S*) (?P<clock>{.*})\n(?P<event>.*)")
"""The expression by which ShiViz reads such a log."""


def told(resource: str = sample.ACCOUNT, agents: tuple[str, str] = ("deposit-agent", "withdraw-agent")) -> Any:
    finding, rows = sample.race(7, resource, agents, START)
    body = FindingBody.from_json(finding.to_json())
    head = FindingHead(
        id=finding.id, revision=1, issue=finding.issue, kind=str(finding.kind), certainty=str(finding.certainty),
        severity=str(finding.severity), manifest=True, status="open", resource=finding.resource, agents=finding.agents,
        first_ns=finding.first_ns, last_ns=finding.last_ns, found_ns=0,
    )  # fmt: skip
    return head, body, cut_slice(body, Queries(Rows(rows)))


def clocks(cut: Slice, log: str) -> list[tuple[str, dict[str, int], str]]:
    found = [(m["host"], json.loads(m["clock"]), m["event"]) for m in SHIVIZ.finditer(log)]
    assert len(found) == len(cut.events) == log.count("\n") / 2
    return found


def before(one: dict[str, int], other: dict[str, int]) -> bool:
    return one != other and all(ticks <= other.get(host, 0) for host, ticks in one.items())


def test_the_log_has_the_clocks_of_the_diagram() -> None:
    """Each host counts by one; whatever an arrow or a lane orders the clocks order; the race they leave open."""
    head, body, cut = told()
    read = clocks(cut, rendered(Form.SHIVIZ, head, body, cut))
    for host in {host for host, _, _ in read}:
        assert [clock[host] for name, clock, _ in read if name == host] == list(
            range(1, sum(name == host for name, _, _ in read) + 1)
        )
    at = {(host, clock[host]): clock for host, clock, _ in read}
    by_key: dict[str, dict[str, int]] = {}
    for strand in {event.strand for event in cut.events}:
        for number, event in enumerate(sorted((e for e in cut.events if e.strand == strand), key=lambda e: e.seq), 1):
            by_key[event.key] = at[event.agent, number]
    arrows = [(edge.source, edge.target) for edge in cut.edges] + program_pairs(cut.events)
    assert len(arrows) > 5
    assert all(before(by_key[one], by_key[two]) for one, two in arrows)
    assert cut.race is not None
    one, two = (by_key[key] for key in cut.race)
    assert not before(one, two)
    assert not before(two, one)


def test_the_log_is_read_whatever_names_hold() -> None:
    """Two lines an event, a host of one word, a clock of JSON that names it, no control character."""
    for name in (*CORPUS, "a b", 'x {"y": 1}', "same"):
        read_back(name)


def read_back(name: str) -> None:
    head, body, cut = told(f"redis://cache:6379/0/{name}", (name, f"x{name}"))
    log = rendered(Form.SHIVIZ, head, body, cut)
    assert all(host in clock for host, clock, _ in clocks(cut, log))
    assert all(sign.isprintable() or sign == "\n" for sign in log)
    assert all(sign.isprintable() or sign == "\n" for sign in rendered(Form.TEXT, head, body, cut))


@pytest.mark.parametrize("name", [*HOSTILE, *CORPUS[len(HOSTILE) :: 4]])
def test_markdown_shows_names_and_nothing_else(name: str) -> None:
    """A parser of CommonMark with tables and bare links makes no image, link, HTML or heading of a name."""
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    head, body, cut = told(f"redis://cache:6379/0/{name}", (name, f"x{name}"))
    tokens = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").parse(
        rendered(Form.MARKDOWN, head, body, cut)
    )  # fmt: skip
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert kinds <= {
        "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "text", "code_inline", "fence",
        "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "strong_open", "strong_close",
        "table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close",
        "th_open", "th_close", "td_open", "td_close", "softbreak", "text_special",
    }  # fmt: skip
    assert sum(token.type == "heading_open" for token in tokens) == 2
    shown = [child.content for child in inline if child.type == "code_inline"]
    if name.isprintable() and name.strip() and "|" not in name:
        assert name in [text.strip() if name.startswith("`") or name.endswith("`") else text for text in shown]


def test_a_template_takes_ids_and_nothing_else() -> None:
    """A link is made of hexadecimal ids under an http address, or not at all."""
    template = "https://traces.example/t/{trace_id}?at={span_id}"
    assert trace_link(template, "a" * 32, "b" * 16) == f"https://traces.example/t/{'a' * 32}?at={'b' * 16}"
    assert trace_link(template, "a" * 32) == f"https://traces.example/t/{'a' * 32}?at="
    for wrong in (("", "a" * 32), ("javascript:alert({trace_id})", "a" * 32), ("https://t.example/", "a" * 32),
                  (template, "../x"), (template, "")):  # fmt: skip
        assert trace_link(*wrong) == ""
