"""LanceDB, embedded: what each method is told as, sync and asyncio, and agents that race."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vector_stage import judged, printed, told

from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import capture

lancedb = pytest.importorskip("lancedb", reason="lancedb is not installed; run `nox -s vectors`")

OWNER = "ann of the long name"


def row(identifier: str = "a", balance: int = 10_000_100) -> dict[str, Any]:
    return {"id": identifier, "vector": [0.1, 0.2], "balance": balance, "owner": OWNER}


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """An embedded table with one row."""
    return lancedb.connect(tmp_path / "db").create_table("plans", [row()])


def test_search_and_update_whole(table: Any, tmp_path: Path) -> None:
    """A read and the write of one column after it, attribute by attribute."""
    with capture(agent="planner") as captured:
        (found,) = table.search().where("id = 'a'").to_list()
        table.update(where="id = 'a'", values={"balance": found["balance"] + 50})
        read, write = captured.accesses
    folder = "/".join([host_name(), *str(tmp_path / "db").split("/")[1:]])
    common = {
        "noclobber.resource": f"lance://{folder}/plans.lance/id=a",
        "noclobber.system": "lancedb",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.verbatim": False,
        "code.function.name": "test_search_and_update_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.size": 8 + len(OWNER),
        "noclobber.version.read": read["noclobber.version.read"],
        "db.operation.name": "search",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": write["noclobber.seq"],
        "noclobber.part": "balance",
        "noclobber.size": 8,
        "noclobber.content.numeric": True,
        "noclobber.version.weak": True,
        "noclobber.version.written": printed(b"10000150"),
        "noclobber.version.base": printed(b"10000100"),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "update",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write lancedb", "lancedb")


TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda t: t.search().where("id = 'no'").to_list(), [("read", "id=no", "not_found", None)]),
    (lambda t: t.search().where("id = 'a'").select(["owner"]).to_list(), [("read", "id=a", "ok", "owner")]),
    (lambda t: t.search().where(f"owner = '{OWNER}'").to_list(), [("scan", "", "ok", None)]),
    (lambda t: t.search([0.1, 0.2]).limit(1).to_list(), [("scan", "", "ok", None)]),
    (lambda t: t.to_arrow().num_rows, [("scan", "", "ok", None)]),
    (lambda t: t.update(where="id = 'no'", values={"balance": 1}), [("write", "id=no", "no_effect", "balance")]),
    (lambda t: t.update(where="id = 'a' AND balance = 7", values={"balance": 1}),
     [("write", "id=a", "rejected", "balance")]),
    (lambda t: t.update(where=f"id = 'a' AND owner = '{OWNER}'", values={"balance": 1}),
     [("update", "id=a", "ok", "balance")]),
    (lambda t: t.update(where="id = 'a'", values_sql={"balance": "balance + 1"}), [("update", "id=a", "ok", None)]),
    (lambda t: t.update(where="balance > 7", values={"balance": 1}), [("update", "", "ok", None)]),
    (lambda t: t.update(where="id IN ('a')", values={"balance": 1}), [("write", "id=a", "ok", "balance")]),
    (lambda t: t.update(where="id in ('a' , 'no')", values={"balance": 1}),
     [("write", "id=a", "unknown", "balance"), ("write", "id=no", "unknown", "balance")]),
    (lambda t: t.update(where="id IN ('a', 'b') OR balance = 7", values={"balance": 1}),
     [("update", "", "ok", None)]),
    (lambda t: t.update(where="id IN ('a', 'b')", values_sql={"balance": "balance + 1"}),
     [("update", "", "ok", None)]),
    (lambda t: t.add([row("b"), row("c/d")]), [("write", "id=b", "ok", None), ("write", "id=c%2Fd", "ok", None)]),
    (lambda t: t.add([row("b")], mode="overwrite"), [("update", "", "ok", None)]),
    (lambda t: t.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute([row()]),
     [("write", "id=a", "ok", None)]),
    (lambda t: t.merge_insert("owner").when_matched_update_all().execute([row()]), [("update", "", "ok", None)]),
    (lambda t: t.delete("id = 'a'"), [("delete", "id=a", "ok", None)]),
    (lambda t: t.delete("id = 'no'"), [("delete", "id=no", "no_effect", None)]),
    (lambda t: t.delete("id IN ('a')"), [("delete", "id=a", "ok", None)]),
    (lambda t: t.delete("id IN ('no', 'it''s', 'no')"),
     [("delete", "id=no", "no_effect", None), ("delete", "id=it%27s", "no_effect", None)]),
    (lambda t: t.delete("balance > 7"), [("update", "", "ok", None)]),
    (lambda t: t.update(where="id = 'a'", values={"nope": 1}), [("write", "id=a", "error", "nope")]),
    (lambda t: t.count_rows(), []),
]  # fmt: skip


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(tmp_path: Path, act: Callable[[Any], Any], expected: list[tuple[Any, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt(name: str) -> str:
        table = lancedb.connect(tmp_path / name).create_table("plans", [row()])
        try:
            return repr(act(table))
        except Exception as error:
            return type(error).__name__

    plain = attempt("plain")
    with capture() as captured:
        watched = attempt("watched")
    assert watched == plain
    assert told(captured, "part") == expected


@pytest.mark.parametrize("where", ["id = 'a'", "id IN ('a')"])
def test_a_key_that_two_rows_have(tmp_path: Path, where: str) -> None:
    """What is done by it is told in part only: it names no one row."""
    table = lancedb.connect(tmp_path / "db").create_table("plans", [row(), row()])
    with capture() as captured:
        table.update(where=where, values={"balance": 1})
    (access,) = captured.accesses
    assert access["noclobber.partial"] is True


async def test_asyncio(tmp_path: Path) -> None:
    """The same, awaited."""
    table = await (await lancedb.connect_async(tmp_path / "db")).create_table("plans", [row()])
    with capture() as captured:
        (found,) = await table.query().where("id = 'a'").to_list()
        await table.update({"balance": found["balance"] + 50}, where="id = 'a'")
        await table.add([row("b")])
        await table.delete("id = 'b'")
    assert told(captured, "part") == [
        ("read", "id=a", "ok", None),
        ("write", "id=a", "ok", "balance"),
        ("write", "id=b", "ok", None),
        ("delete", "id=b", "ok", None),
    ]
    assert captured.accesses[1]["noclobber.version.base"] == printed(b"10000100")


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_race_and_twin(kind: str, tmp_path: Path) -> None:
    """One lost update; its twin is refused once and tries again."""
    (finding,), _, balance = judged(tmp_path / "plain.jsonl", "lance", "plain", kind, str(tmp_path / "db"))
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert balance in ("10000150", "10000080")
    findings, summary, balance = judged(tmp_path / "safe.jsonl", "lance", "safe", kind, str(tmp_path / "db"))
    assert (findings, balance) == ([], "10000130")
    assert summary["defended"] == {"rejected": 1}


def test_secrets_stay(table: Any) -> None:
    """Neither values nor conditions."""
    with capture() as captured:
        table.update(where="id = 'a'", values={"owner": "planted-owner-hunter2"})
        table.search().where("owner = 'planted-owner-hunter2'").to_list()
        table.update(where="id = 'a' AND owner = 'planted-owner-hunter2'", values={"owner": "another name"})
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    raw = b"planted-owner-hunter2"
    for form in (raw.decode(), base64.b64encode(raw).decode(), raw.hex()):
        assert form not in text
