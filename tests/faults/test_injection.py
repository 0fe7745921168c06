"""Fault test 14: hostile text as resource, agent, label and parameter is stored and shown word for word, never run.

The corpus is made from what breaks out of SQL, of ClickHouse's own bound parameters, formats and patterns, in each of
the forms in which it may stand. Beside it, the source is looked through: no statement is put together from values.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from made import ACCESS, request
from processes import wait_until

from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store

ROOT = Path(__file__).parent.parent.parent
PARTS = ("collector", "analyzer", "dashboard", "deploy")
BREAKS = (
    "'", '"', "`", "\\", "\\'", "''", "')", "'))", "';", "\\';", "' --", "'/*", "*/", "{x:String}", "{name:Identifier}",
    "%s", "%(x)s", "$1", "?", "\\N", "\\x27", "\u02bc", "\uff07", "\t", "\n", "\r", "\x00", "\x1b[2J", "%", "_",
)  # fmt: skip
PAYLOADS = (
    "; DROP TABLE accesses; --", " OR 1=1 --", " UNION ALL SELECT 1 FROM system.users --",
    "; INSERT INTO findings VALUES ('x') --", " AND sleep(3) --", "; ALTER TABLE accesses DELETE WHERE 1; --",
    " FORMAT Null", " INTO OUTFILE '/tmp/out' --", " SETTINGS max_threads=0", "; SYSTEM SHUTDOWN; --",
)  # fmt: skip
CORPUS = [begin + payload for begin, payload in itertools.product(BREAKS, PAYLOADS)]
FIELDS = (
    "noclobber.agent",
    "noclobber.strand",
    "noclobber.run",
    "noclobber.unit",
    "noclobber.version.written",
    "label",
)


def test_hostile_text_is_stored_and_asked_for_word_for_word(
    real_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each field, and as the bound parameter of a question; no table gains or loses a row by it."""
    assert len(set(CORPUS)) >= 200
    monkeypatch.chdir(tmp_path)
    store = real_store
    tables = [name for (name,) in store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")]
    spans = [
        {**ACCESS, "noclobber.seq": number, "noclobber.resource": f"redis://h/0/{text}", **dict.fromkeys(FIELDS, text)}
        for number, text in enumerate(CORPUS, 1)
    ]
    data = request(spans).SerializeToString()
    spool = Spool(tmp_path / "spool")
    spool.put(data, count_spans(data)).result(10)
    spool.close()
    loader = Loader(store, tmp_path / "spool")
    loader.start()
    wait_until(lambda: not closed_segments(tmp_path / "spool"), what="the load")
    loader.stop(10)
    rows = store.rows(
        "SELECT seq, resource, agent, strand, run, unit, version_written, rest['label'] FROM accesses ORDER BY seq"
    )
    assert rows == [(n, f"redis://h/0/{text}", *[text] * 6) for n, text in enumerate(CORPUS, 1)]
    asked = "SELECT count(), any(agent) FROM accesses WHERE resource = {resource:String} AND agent = {agent:String}"
    for text in CORPUS:
        assert store.rows(asked, {"resource": f"redis://h/0/{text}", "agent": text}) == [(1, text)]
    assert sorted(tables) == sorted(
        name for (name,) in store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    )
    assert store.rows("SELECT count() FROM findings") == [(0,)]
    assert store.rows("SELECT count() FROM accesses") == [(len(CORPUS),)]


STATEMENT = re.compile(r"\s*(SELECT|INSERT|ALTER|DELETE|WITH)\s")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
REVIEWED = re.compile(r"# (noqa: S608  |reviewed: )\w+")
"""A person has said why what stands there is none of the user's."""


def parts_of(node: ast.AST) -> tuple[str, list[ast.expr]]:
    """The fixed text of an expression that puts text together, and what is put in."""
    match node:
        case ast.JoinedStr(values=values):
            text = "".join(str(part.value) for part in values if isinstance(part, ast.Constant))
            return text, [part.value for part in values if isinstance(part, ast.FormattedValue)]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod() | ast.Add(), right=right):
            return text, [right]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"), args=args):
            return text, args
    return "", []


def put_together(file: Path) -> Iterator[str]:
    """Statements of a file into which something is put that is no constant of its module, and nobody said why."""
    source = file.read_text()
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        text, values = parts_of(node)
        if not STATEMENT.match(text):
            continue
        assert isinstance(node, ast.expr)
        is_reviewed = any(REVIEWED.search(line) for line in lines[node.lineno - 1 : node.end_lineno])
        for value in values:
            if not is_reviewed and not (isinstance(value, ast.Name) and CONSTANT.fullmatch(value.id)):
                yield f"{file.name}:{node.lineno}: {ast.unparse(value)}"


def test_no_statement_is_put_together_from_values() -> None:
    """Constants of the module may stand in a statement; else it is a bound parameter, or says why it need not be."""
    assert [line for part in PARTS for file in (ROOT / part).rglob("*.py") for line in put_together(file)] == []


def test_the_look_through_the_source_sees_what_it_should(tmp_path: Path) -> None:
    """Each way to put a value into a statement."""
    file = tmp_path / "bad.py"
    file.write_text(
        'a = f"SELECT {x} FROM t"\nb = "DELETE FROM t WHERE x = %s" % x\nc = "SELECT 1 WHERE x = " + x\n'
        'd = "INSERT INTO {}".format(x)\ne = f"SELECT {COLUMNS} FROM t"\nf = f"Select {x}"\n'
        'g = f"SELECT {x}"  # noqa: S608  fixed names\n'
    )
    assert [line.split(":")[1] for line in put_together(file)] == ["1", "2", "3", "4"]
