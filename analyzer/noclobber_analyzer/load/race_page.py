"""The page of races that a load tool's web server shows: plain HTML, whatever names agents and resources have."""

from collections import Counter
from html import escape
from typing import Any

__all__ = ["page"]


def page(findings: list[dict[str, Any]], accesses: int, more: int) -> str:
    """Findings (as `noclobber check --format json` has them), newest last; `more` were not kept."""
    kinds = Counter(f"{each['kind']} ({each['certainty']})" for each in findings)
    counted = ", ".join(f"{count} {escape(kind)}" for kind, count in kinds.most_common()) or "nothing found"
    rows = "".join(map(_row, findings))
    beside = f"<p>{more} more were counted and are not shown.</p>" if more else ""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Races</title>"
        "<meta http-equiv=refresh content=5></head><body><h1>Races between agents</h1>"
        f"<p>{accesses:,} accesses, {counted}</p>{beside}<table border=1 cellpadding=4>"
        "<tr><th>kind</th><th>certainty</th><th>severity</th><th>resource</th><th>agents</th><th>what happened</th>"
        f"<th>what to change</th></tr>{rows}</table></body></html>"
    )


def _row(found: dict[str, Any]) -> str:
    advice = found.get("advice") or {}
    cells = (
        found["kind"], found["certainty"], found["severity"], found["resource"], ", ".join(found["agents"]),
        found["explanation"], advice.get("text", "") if isinstance(advice, dict) else advice,
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
