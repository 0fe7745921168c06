"""`noclobber access` and `noclobber alerts`, over a store of their own."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from noclobber.cli import CommandError
from noclobber_analyzer.commands.alerts import COMMAND as ALERTS
from noclobber_collector.store import open_store
from noclobber_dashboard.access_command import ACCESS


def test_tokens_and_audit_from_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made (shown once), listed, revoked; each of it stands in the audit log, with the command line as origin."""
    url = f"chdb://{tmp_path}/store"
    open_store(url).close()

    def run(command: Any, *words: str) -> list[str]:
        parser = argparse.ArgumentParser()
        command.configure(parser)
        assert command.run(parser.parse_args([*words, "--store", url, "--data", str(tmp_path)])) == 0
        return capsys.readouterr().out.splitlines()

    (text,) = run(ACCESS, "make", "grafana", "--scope", "read,operate", "--for", "30d", "--as", "ann")
    (line,) = run(ACCESS, "tokens")
    token_id = line.split()[0]
    assert text.startswith(f"nc_{token_id}_")
    assert "operate,read" in line
    assert "by ann" in line
    run(ACCESS, "revoke", token_id, "--as", "bob")
    assert "revoked" in run(ACCESS, "tokens")[0]
    made = run(ALERTS, "silence", "kind=fork", "--for", "2h", "--comment", "tests", "--as", "ann")
    assert "active" in run(ALERTS, "silences")[0]
    run(ALERTS, "unsilence", made[0].split()[1].rstrip(":"))
    assert run(ALERTS, "silences") == ["no silences: whatever is found is told"]
    assert run(ALERTS, "dead") == ["none was given up"]
    log = run(ACCESS, "audit", "--as", "x")
    assert [line.split("  ")[2] for line in log] == ["silence.ended", "silence.added", "token.revoked", "token.made"]
    assert all("command line of" in line for line in log)
    assert text not in "\n".join(log)
    for words in (["revoke", "none"], ["make"], ["tokens", "x"], ["make", "x", "--scope", "everything"]):
        with pytest.raises(CommandError):
            run(ACCESS, *words)
    for words in (["silence", "kind=fork"], ["unsilence", "none"], ["resend", "none"], ["test", "none"]):
        with pytest.raises(CommandError):
            run(ALERTS, *words)
