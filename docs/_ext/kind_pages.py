"""One page for each kind: what it is, what agents do that leads to it, the product's own picture of it, the way out.

The picture is drawn by the dashboard's script from what the analyzer finds, when the page is built, in what a real run
recorded (`docs/recorded`, by the programs of `tests/kinds/acts`); where no real store lets a kind happen, in the
history that the tests hold it against. Nothing here is written by hand, so nothing can fall behind.
"""

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from every_kind import STORIES

from noclobber.contract import PRECEDENCE, Kind
from noclobber.declarations import Declarations, declaration_from
from noclobber_analyzer.advice import advise
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.kinds import KINDS
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_dashboard.recorded import Recorded
from noclobber_dashboard.report_page import as_script, drawn, scripts

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS: Final = Path(__file__).parents[1]
RECORDED: Final = DOCS / "recorded"
ACTS: Final = DOCS.parent / "tests" / "kinds" / "acts"
SOURCE: Final = "../../tests/kinds/acts"
STORES: Final = {
    "kinds_redis": "Redis", "kinds_replica": "Redis and a replica that is behind", "kinds_streams": "a Redis stream",
    "kinds_postgres": "PostgreSQL", "kinds_mariadb": "MariaDB",
}  # fmt: skip
DECLARED: Final = {
    "garbage_read": {"pattern": "redis://*/plan", "closed": True},
    "invariant_violation": {"pattern": "redis://*/shift", "invariant": "size <= 30"},
}
FIXES: Final = {
    "Redis": "redis", "SQL databases": "postgresql", "S3, DynamoDB and files": "aws.s3",
    "LangGraph": "langgraph.store", "objects in memory": "memory", "other stores": "",
}  # fmt: skip


class Shown(NamedTuple):
    """A finding of a kind, what it was found in, and in words where that comes from."""

    finding: Finding
    recorded: Recorded
    origin: str


def setup(app: "Sphinx") -> dict[str, bool]:
    """Make the pages when a build begins."""
    app.connect("builder-inited", lambda _: write_all())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_all() -> None:
    """Write each kind's page, their list, and the script that draws."""
    folder = DOCS / "kinds"
    folder.mkdir(exist_ok=True)
    names = [str(kind) for kind in PRECEDENCE]
    for kind in PRECEDENCE:
        _write(folder / f"{kind}.md", page(kind))
    listed = "\n".join(names)
    rows = "\n".join(f"| [{KINDS[kind].title}]({kind}.md) | {KINDS[kind].definition} |" for kind in PRECEDENCE)
    _write(
        folder / "index.md",
        "# Kinds, one by one\n\nIn order of precedence. Pictures and sentences are the product's own, drawn from what "
        f"real runs recorded.\n\n| kind | definition |\n|---|---|\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
    )
    _write(DOCS / "_static" / "noclobber.js", f"(() => {{\n{scripts()}\n}})();\n")


def _write(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:  # else the builder would take it for new
        file.write_text(text)


def page(kind: Kind) -> str:
    """The page of one kind, in Markdown."""
    facts, shown, act = KINDS[kind], shown_of(kind), _act(kind)
    parts = [
        f"# {facts.title[0].upper()}{facts.title[1:]}",
        f"{facts.definition}\n\n`{kind}`; source: {facts.source}." + _standing(kind),
        "## How it looks",
        f"{shown.origin}\n\n<div data-noclobber>{as_script(drawn(shown.finding, shown.recorded, title=False))}</div>",
    ]
    if act:
        module, functions = act
        parts += [
            "## What the agents did",
            f"They know nothing of noclobber. `tests/kinds/acts/{module}.py` has the whole program, and its twin that "
            "does it right.",
            *(f"```{{literalinclude}} {SOURCE}/{module}.py\n:pyobject: {name}\n```" for name in functions),
        ]
    return "\n\n".join([*parts, "## What to change", *_fixes(kind)]) + "\n"


def _standing(kind: Kind) -> str:
    if KINDS[kind].shown_from_store:
        return ""
    return " Experimental: no real store has produced it in a test yet, only histories with known verdicts."


def _fixes(kind: Kind) -> list[str]:
    """Advice for each family of stores that has its own."""
    general = advise(kind, "", "custom://it")
    found = []
    for name, system in FIXES.items():
        advice = advise(kind, system, "custom://it")
        if system and advice == general:
            continue
        code = f"\n\n```\n{advice.code}\n```" if advice.code else ""
        found.append(f"**{name[0].upper()}{name[1:]}**: {advice.text}{code}")
    return found


def shown_of(kind: Kind) -> Shown:
    """A finding of this kind: from a recorded run where there is one.

    Raises:
        LookupError: what is there for it does not show it.
    """
    file = RECORDED / f"{kind}.jsonl"
    told = [declaration_from(DECLARED[kind])] if kind in DECLARED else []
    if file.exists():
        history, declared = read_otlp([str(file)], None, Declarations(told)), Declarations(told)
        act = _act(kind)
        origin = f"Recorded from a run on {STORES[act[0]]}." if act else "Recorded from a run."
    else:
        story = STORIES[kind]
        builder = HistoryBuilder()
        for access in story.accesses():
            builder.add(access, access.name)
        history, declared = builder.finish(ended=True), story.declarations
        origin = "From a history with a known verdict."
    for finding in evaluate(history, declarations=declared).findings:
        if finding.kind is kind:
            return Shown(finding, Recorded(history.accesses), origin)
    raise LookupError(f"nothing shows {kind}")


def _act(kind: Kind) -> tuple[str, list[str]] | None:
    """The module that plays a kind, and its functions that do so: what they call first."""
    for module in STORES:
        tree = ast.parse((ACTS / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == kind:
                return module, _with_called(tree, node.name)
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == kind:
                        called = value.body if isinstance(value, ast.Lambda) else value
                        name = called.func if isinstance(called, ast.Call) else called
                        if isinstance(name, ast.Name):
                            return module, _with_called(tree, name.id)
    return None


def _with_called(tree: ast.Module, name: str) -> list[str]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
    return [other for other in functions if other in used and other != name] + [name]
