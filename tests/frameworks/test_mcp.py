"""MCP: what calling a tool is, and one payment that two agents make."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("mcp", reason="mcp is not installed: `nox -s frameworks`")


def test_an_order_paid_twice_in_one_run(account: str, tmp_path: Path) -> None:
    """Two agents of one run pay the same order; a tool that is idempotent takes it once."""
    pytest.importorskip("agents.testing", reason="openai-agents is not installed: `nox -s frameworks`")
    played = play(tmp_path, "mcp_payers", "plain", account)
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("duplicate_effect", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["left", "right"]
    told = played.of("effect://payments/pay")
    assert {each["scope"] for each in told} == {"noclobber.mcp"}
    assert played.who("effect://") == {("left", "order-7", "call-settle"), ("right", "order-7", "call-settle")}
    safe = play(tmp_path, "mcp_payers", "safe", account)
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"deduplicated": 1}


def test_what_a_tools_hints_make_of_its_calls(account: str, tmp_path: Path) -> None:
    """Read-only is a read, idempotent has a key, without hints or with an error it is partial."""
    played = play(tmp_path, "mcp_tools", "plain", account)
    assert played.output == "['False', 'False', 'False', 'False', 'True']\n"
    told = [
        (
            each["op"],
            "/".join(each["resource"].split("/")[:4]),
            each["outcome"],
            "effect.key" in each,
            each.get("partial", False),
        )
        for each in played.accesses
        if each["scope"] == "noclobber.mcp"
    ]
    assert told == [
        ("effect", "effect://payments/pay", "ok", False, False),
        ("effect", "effect://payments/pay_once", "ok", True, False),
        ("read", "mcp://payments/balance", "ok", False, False),
        ("effect", "effect://payments/mystery", "ok", False, True),
        ("effect", "effect://payments/broken", "unknown", False, True),
    ]
    assert played.findings == []
