"""What a person is told of an issue, whatever carries it: one heading, one sentence, a few facts, one link.

A message's `data` (contract 3) is made for programs. Chats, pagers and mail show these words of it instead, each in
its own dress. All of them are text that agents may have chosen (names, keys), so whoever renders them says so to its
medium: plain text elements, escaped markdown, no mentions. No value is among them, since a finding has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["ACKNOWLEDGED", "Words", "shortened", "words_of"]

ACKNOWLEDGED: Final = "state.acknowledged"
HEADINGS: Final = {
    "issue.opened": "New",
    "issue.updated": "Again",
    "issue.resolved": "Resolved",
    "issue.regressed": "Back again",
    "issue.retracted": "Taken back",
    ACKNOWLEDGED: "Somebody looks into it",
}
OVER: Final = frozenset({"issue.resolved", "issue.retracted"})
NAMES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Words:
    """An issue in words.

    Attributes:
        event: the transition's kind, such as `issue.opened`.
        heading: event and title, such as `New: lost update on redis://h/0/acct:* (a, b)`.
        sentence: what happened; the newest finding's explanation.
        advice: what to change; empty where there is none.
        facts: name and text, such as `Severity` and `high`.
        link: the finding's page; empty where no dashboard is known.
        is_over: whether it needs nobody any more.
    """

    event: str
    issue: str
    kind: str
    severity: str
    certainty: str
    heading: str
    sentence: str
    advice: str
    facts: tuple[tuple[str, str], ...]
    link: str
    is_over: bool


def words_of(event: str, data: Mapping[str, object]) -> Words:
    """The words of a message.

    Args:
        event: the transition's kind.
        data: the issue (contract 3), as `fitted` left it: any part may be absent.
    """
    newest = data.get("newest")
    finding: Mapping[str, object] = newest if isinstance(newest, dict) else {}
    advice = finding.get("advice")
    facts = {
        "Severity": data.get("severity"),
        "Certainty": data.get("certainty"),
        "Findings": data.get("count"),
        "Agents": _names(data.get("agents")),
        "Resources": _names(data.get("resources")),
    }
    title = str(data.get("title") or data.get("kind") or "issue")
    return Words(
        event=event,
        issue=str(data.get("issue") or ""),
        kind=str(data.get("kind") or ""),
        severity=str(data.get("severity") or ""),
        certainty=str(data.get("certainty") or ""),
        heading=f"{'Sample: ' if data.get('sample') is True else ''}{HEADINGS.get(event, event)}: {title}",
        sentence=str(finding.get("explanation") or ""),
        advice=str(advice.get("text") or "") if isinstance(advice, dict) else "",
        facts=tuple((name, str(text)) for name, text in facts.items() if text),
        link=str(data.get("url") or ""),
        is_over=event in OVER,
    )


def _names(value: object) -> str:
    names = [str(name) for name in value] if isinstance(value, list | tuple) else []
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def shortened(text: str, characters: int) -> str:
    """The text, its end replaced by an ellipsis where it is longer than a medium takes."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
