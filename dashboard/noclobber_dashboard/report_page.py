"""Findings as one file of HTML: to be attached to a build, opened anywhere, without a sidecar and without a network.

The page draws with the dashboard's own scripts, which take data and set it as text; the data stands in the file as
JSON in which no sign can end its element. Its policy lets it fetch nothing.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from noclobber_analyzer.finding import Finding
from noclobber_dashboard.components.prose import Node
from noclobber_dashboard.components.prose import script as prose_script
from noclobber_dashboard.diagram import diagram_data
from noclobber_dashboard.recorded import Recorded, read_finding
from noclobber_dashboard.records import FindingBody, FindingHead
from noclobber_dashboard.retelling import facts_strip, heading, marked, sentence
from noclobber_dashboard.slices import cut_slice

__all__ = ["Drawn", "as_script", "drawn", "report_page", "scripts"]

_HERE: Final = Path(__file__).parent
_COMPONENTS: Final = _HERE / "components"
Drawn = dict[str, Any]
"""One finding as the page's script takes it: its id, `before` and `after` as prose, `diagram` or None."""

_MOUNT: Final = """
const sheets = Object.fromEntries(Object.entries(styles).map(([name, text]) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  return [name, sheet];
}));
for (const holder of document.querySelectorAll("[data-noclobber]")) {
  const drawn = JSON.parse(holder.querySelector("script").textContent);
  const place = (name, draw, data) => {
    const part = holder.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
    part.adoptedStyleSheets = [sheets[name]];
    part.appendChild(document.createElement("div")).className = name;
    draw({ data, parentElement: part });
  };
  place("prose", prose, { nodes: drawn.before });
  if (drawn.diagram) place("spacetime", spacetime, drawn.diagram);
  place("prose", prose, { nodes: drawn.after });
}
"""
_STYLE: Final = """
:root { color-scheme: light dark; --st-font: system-ui, sans-serif; --st-code-font: ui-monospace, monospace;
  --st-base-radius: 8px; --st-background-color: #fff; --st-secondary-background-color: #f5f6f8;
  --st-text-color: #1c2430; --st-border-color: #dde1e7; --st-primary-color: #2563a8; }
@media (prefers-color-scheme: dark) { :root { --st-background-color: #12161c; --st-secondary-background-color: #1a2029;
  --st-text-color: #e6eaf0; --st-border-color: #2d3541; --st-primary-color: #6aa9e9; } }
body { margin: 0 auto; max-width: 1180px; padding: 24px 20px 60px; background: var(--st-background-color);
  color: var(--st-text-color); font: 15px/1.5 var(--st-font); overflow-wrap: anywhere; }
body > header { padding-bottom: 14px; border-bottom: 1px solid var(--st-border-color); }
body > header h1 { font-size: 20px; margin: 0 0 4px; }
body > header p { margin: 2px 0; font-size: 13.5px; }
section { padding: 26px 0 22px; border-bottom: 1px solid var(--st-border-color); display: grid; gap: 12px; }
section > div { min-width: 0; }
"""


def drawn(finding: Finding, recorded: Recorded, *, title: bool = True) -> Drawn:
    """What is shown of a finding.

    Args:
        finding: with its witness.
        recorded: the history that it was found in.
        title: whether its heading is shown.
    """
    head, body = read_finding(finding)
    cut = cut_slice(body, recorded)
    return {
        "id": finding.id,
        "before": [node.as_data() for node in _before(head, body, title=title)],
        "diagram": diagram_data(cut, head.kind, head.resource) if cut.events else None,
        "after": [node.as_data() for node in _after(body)],
    }


def _before(head: FindingHead, body: FindingBody, *, title: bool) -> Iterable[Node]:
    if title:
        yield Node("div", "head", heading(head, body))
    yield sentence(head, body)
    yield facts_strip(head, body, lasting=True)


def _after(body: FindingBody) -> Iterable[Node]:
    for text, code in body.advice:
        yield Node("div", children=(Node("h2", children=("What to change",)), Node("p", children=marked(text))))
        if code:
            yield Node("pre", children=(code,))
    if body.missing:
        items = [Node("li", children=marked(each)) for each in body.missing]
        yield Node("div", children=(Node("h2", children=("To be surer",)), Node("ul", children=items)))


def scripts() -> str:
    """One module: the components' scripts and styles, and what puts each finding into its place."""
    parts, sheets = [], {}
    for name in ("prose", "spacetime"):
        text = prose_script() if name == "prose" else (_COMPONENTS / name / f"{name}.js").read_text("utf-8")
        inside, found = re.subn(r"^export default function ", "const component = function ", text, flags=re.MULTILINE)
        assert found == 1, f"{name}.js has one default export"
        parts.append(f"const {name} = (() => {{\n{inside}\nreturn component;\n}})();")
        sheets[name] = (_COMPONENTS / name / f"{name}.css").read_text("utf-8")
    return "\n".join([*parts, f"const styles = {_json(sheets)};", _MOUNT])


def report_page(found: Sequence[Drawn], title: str, said: Sequence[str]) -> str:
    """The whole page.

    Args:
        found: findings, the worst first.
        title: of the page.
        said: lines below the title: what was looked at, what was defended, what was not seen.
    """
    script = scripts()
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(_STYLE)}'; script-src 'sha256-{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in said)
    body = "".join(
        f'<section data-noclobber id="{html.escape(each["id"])}">{as_script(each)}</section>' for each in found
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><header><h1>{html.escape(title)}</h1>{lines}</header>{body}"
        f'<script type="module">{script}</script></body></html>\n'
    )


def as_script(data: Drawn) -> str:
    """Data in an element that no text in it can end."""
    return f'<script type="application/json">{_json(data)}</script>'


def _json(data: object) -> str:
    text = json.dumps(data, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
