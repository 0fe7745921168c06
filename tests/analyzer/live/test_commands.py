"""`analyze` and `findings`: beside a running engine, and over an embedded store of their own."""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from intake import Agent, Intake, Request, generated, wait_until, written
from processes import ask, counted, free_ports
from starlette.applications import Starlette
from streams import ACCOUNT, a_stream, run_dry

from noclobber.cli import Command, CommandError, main
from noclobber_analyzer.commands.backup import BACKUP, RESTORE
from noclobber_analyzer.commands.forget import COMMAND as FORGET
from noclobber_analyzer.metrics import ANALYZER
from noclobber_collector.lock import EngineLock
from noclobber_collector.store_route import store_route


@pytest.fixture
def beside(intake: Intake, tmp_path: Path) -> Iterator[list[str]]:
    """The options for a data folder that an engine holds, whose store is the test's."""
    config = uvicorn.Config(Starlette(routes=[store_route(intake.store)]), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with EngineLock(tmp_path / "data", f"http://127.0.0.1:{port}"):
        yield ["--data", str(tmp_path / "data")]
    server.should_exit = True
    thread.join(10)


def lost_update() -> list[Request]:
    first, second = Agent("first"), Agent("second")
    return [
        first.read(ACCOUNT, "1", 1.0), second.read(ACCOUNT, "1", 1.1),
        first.write(ACCOUNT, "1", "2", 1.2, version__overwritten="1"),
        second.write(ACCOUNT, "1", "3", 1.3, version__overwritten="2"), first.mark(2.0), second.mark(2.0),
    ]  # fmt: skip


def run(*words: str) -> int:
    return main(list(words))


def test_analyze_equals_check(
    intake: Intake, beside: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`analyze` prints what `check` prints for the same accesses, and the store then holds it."""
    injected = ("--inject", "lost_update=2", "--inject", "dirty_read=2", "--guarded", "0.2")
    requests = generated(tmp_path, "--ops", "200", *injected)
    intake.take(requests)
    assert run("check", "--format", "json", written(tmp_path, requests)) == 1
    offline = capsys.readouterr().out
    assert run("analyze", "--format", "json", *beside) == 1
    assert capsys.readouterr().out == offline
    assert [finding.to_json() for finding in intake.findings()] == offline.splitlines()[:-1]


def test_analyze_beside_live(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What live analysis found is not written again, and the other way round."""
    intake.take(lost_update())
    run_dry(a_stream(intake.store))
    rows = intake.counts()
    assert run("analyze", *beside) == 1
    run_dry(a_stream(intake.store))
    assert intake.counts() == rows
    assert "LOST UPDATE" in capsys.readouterr().out


def test_analyze_takes_back(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A stored finding that what is stored does not bear out is retracted, unless it is outside of the stretch."""
    import msgspec

    from noclobber.contract import Certainty
    from noclobber_analyzer.tables import append_findings

    intake.take(lost_update())
    assert run("analyze", *beside) == 1
    (true,) = intake.findings()
    false = msgspec.structs.replace(true, id="f" * 32, certainty=Certainty.LIKELY, accesses=true.accesses[:1])
    append_findings(intake.store, [(false, time.time_ns())])
    assert run("analyze", "--until", "2001-01-01", *beside) == 0
    assert len(intake.findings()) == 2
    assert run("analyze", *beside) == 1
    assert intake.findings() == [true]
    (gone,) = intake.findings(status="retracted")
    assert "`noclobber analyze` judged it anew" in gone.explanation
    capsys.readouterr()


def test_since_leaves_the_rest_alone(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--since` shows only what came true from then on."""
    intake.take(lost_update())
    assert run("analyze", "--since", "1h", "--format", "json", *beside) == 0
    assert intake.findings() == []
    assert json.loads(capsys.readouterr().out)["summary"]["findings"] == {}


def test_findings(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """List, show by the first letters, and export; filters leave out."""
    intake.take(lost_update())
    run_dry(a_stream(intake.store))
    (finding,) = intake.findings()
    assert run("findings", *beside) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["ID", "LAST", "(UTC)", "CERTAINTY", "SEVERITY", "KIND", "AGENTS", "RESOURCE"]
    assert table[1].startswith(finding.id[:12])
    assert table[1].endswith(ACCOUNT)
    assert run("findings", "show", finding.id[:6].upper(), *beside) == 0
    assert finding.explanation[:40] in capsys.readouterr().out
    assert run("findings", "export", *beside) == 0
    assert capsys.readouterr().out == finding.to_json() + "\n"
    for fits, words in [
        (True, ("--kinds", "fork,lost_update", "--min-severity", "high", "--agent", "first", "--resource", "acct:")),
        (False, ("--kinds", "fork")), (False, ("--agent", "fir")), (False, ("--status", "retracted")),
        (False, ("--since", "1h")), (False, ("--resource", "it's \\ not")),
        (True, ("--since", "2020-01-01", "--issue", finding.issue)),
    ]:  # fmt: skip
        assert run("findings", "list", "--format", "json", *words, *beside) == 0
        assert capsys.readouterr().out == (finding.to_json() + "\n" if fits else "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("findings", "show"), "takes the id of one finding"),
        (("findings", "list", "abcd"), "the others take none"),
        (("findings", "show", "abcdef"), "there is no finding 'abcdef'"),
        (("findings", "show", "ab"), "too short"),
        (("findings", "--kinds", "lost_updates"), "there is no kind 'lost_updates'"),
        (("findings", "--limit", "0"), "--limit takes a number from 1 on"),
        (("analyze", "--since", "yesterday"), "--since takes 30m, 2h"),
        (("analyze", "--since", "1h", "--until", "2h"), "is not before"),
        (("analyze", "--kinds", "races"), "there is no kind 'races'"),
    ],
)
def test_mistakes(beside: list[str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    """A mistake is told in one sentence, exit code 2."""
    assert run(*words, *beside) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no store yet, or none can be reached, it says so and what to do."""
    for words, said in [
        (("--data", str(tmp_path)), "`noclobber up` makes it"),
        (("--store", "chdb://relative"), "needs an absolute folder"),
        (("--store", "ftp://x"), "no store can be reached"),
        (("--store", "http://127.0.0.1:1"), "does not answer"),
    ]:
        assert run("findings", *words) == 2
        assert said in capsys.readouterr().err


def test_an_engine_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A held lock is never waited for: process and address are named."""
    with EngineLock(tmp_path, "http://127.0.0.1:1"):
        assert run("findings", "--data", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert "http://127.0.0.1:1" in said
    assert "does not answer" in said


def test_an_embedded_store_of_its_own(tmp_path: Path) -> None:
    """Without an engine the commands open the store themselves (chdb opens one folder a process)."""
    here = Path(__file__).parent
    fill = (
        "import json, sys; from pathlib import Path; from intake import Intake;"
        "from noclobber_collector.store import open_store; data = Path(sys.argv[1]);"
        "Intake(open_store(f'chdb://{data}/store'), data / 'spool').take(json.load(sys.stdin))"
    )
    _python(["-c", fill, str(tmp_path)], tmp_path, text=json.dumps(lost_update()), path=str(here))
    command = ["-m", "noclobber.cli"]
    code, out = _python([*command, "analyze", "--data", str(tmp_path)], tmp_path)
    assert code == 1
    assert "LOST UPDATE" in out
    code, out = _python([*command, "findings", "--store", f"chdb://{tmp_path}/store", "--format", "json"], tmp_path)
    assert code == 0
    assert json.loads(out)["kind"] == "lost_update"


def _python(words: list[str], folder: Path, *, text: str = "", path: str = "") -> tuple[int, str]:
    import os

    paths = os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *words], input=text, capture_output=True, text=True, timeout=100, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_analyzer_over_a_server(intake: Intake, beside: list[str]) -> None:
    """The analyzer alone works through HTTP as it does inside an engine, tells of itself, and ends in order."""
    from noclobber_collector.lock import holder

    taken = holder(Path(beside[1]))
    assert taken is not None
    server = f"{taken.address}/api/v1/store"
    (port,) = free_ports(1)
    analyzer = subprocess.Popen(
        [sys.executable, "-m", "noclobber.cli", "analyzer", "--store", server, "--name", "far",
         "--metrics-port", str(port), "--token", "open sesame"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert analyzer.stdout is not None
        assert "as 'far', 0 alert routes" in analyzer.stdout.readline()
        intake.take(lost_update())
        wait_until(intake.findings, 30.0)
        wait_until(lambda: intake.store.rows("SELECT kind FROM transitions"), 30.0)
        base = f"http://127.0.0.1:{port}"
        assert [ask(f"{base}/{page}").status for page in ("live", "ready", "metrics")] == [200, 200, 401]
        told = ask(f"{base}/metrics", authorization="Bearer open sesame").body.decode()
        assert counted(told)["analyzer_accesses_total"] == 4
        assert {row.name for row in ANALYZER if not row.label} <= {line.split(" ")[0] for line in told.splitlines()}
        analyzer.terminate()
        _, told = analyzer.communicate(timeout=30)
    finally:
        analyzer.kill()
    assert analyzer.returncode == 0, told
    assert "Traceback" not in told
    assert intake.store.rows("SELECT DISTINCT analyzer FROM cursors") == [("far",)]


def test_analyzer_needs_a_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The analyzer alone works over a server; the embedded store has its own."""
    assert run("analyzer", "--store", "chdb:///somewhere") == 2
    assert run("analyzer", "--store", "http://127.0.0.1:1", "--config", str(tmp_path / "none.toml")) == 2
    assert run("analyzer", "--store", "http://127.0.0.1:1", "--webhook", "nonsense") == 2
    assert run("analyzer", "--store", "http://127.0.0.1:1") == 1
    assert run("analyzer", "--store", "http://127.0.0.1:1", "--metrics-port", "0", "--host", "0.0.0.0") == 2
    assert run("analyzer", "--store", "http://127.0.0.1:1", "--metrics-port", "99999") == 2
    assert capsys.readouterr().err.count("\nnoclobber: ") == 5


@pytest.mark.parametrize("name", ["analyze", "findings", "analyzer"])
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of each command has examples."""
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    assert ended.value.code == 0
    assert f"examples:\n  noclobber {name}" in capsys.readouterr().out


def in_turn() -> list[Request]:
    first, second = Agent("first"), Agent("second")
    return [
        first.read(ACCOUNT, "1", 1.0), first.write(ACCOUNT, "1", "2", 1.1),
        second.read(ACCOUNT, "2", 1.2), second.write(ACCOUNT, "2", "3", 1.3), first.mark(2.0), second.mark(2.0),
    ]  # fmt: skip


def test_latent_findings_are_kept_apart(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`analyze --latent` stores them; without it they are left alone; `findings` lists them only when asked to."""
    intake.take(in_turn())
    assert run("analyze", *beside) == 0
    assert intake.findings() == []
    assert run("analyze", "--latent", "--format", "json", *beside) == 1
    shown = json.loads(capsys.readouterr().out.splitlines()[-2])
    assert [finding.id for finding in intake.findings()] == [shown["id"]]
    before = intake.counts()
    assert run("analyze", *beside) == 0
    assert run("analyze", "--latent", *beside) == 1
    assert intake.counts() == before
    capsys.readouterr()
    run("findings", *beside)
    assert shown["id"][:12] not in capsys.readouterr().out
    run("findings", "list", "--latent", *beside)
    line = next(line for line in capsys.readouterr().out.splitlines() if shown["id"][:12] in line)
    assert "99 ms" in line


def typed(command: Command, *words: str) -> int:
    """Run a command by its own parser."""
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(list(words)))


def test_backup_beside_a_running_engine(
    intake: Intake, beside: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through its API, with what waits in the spool; a restore is refused while it runs."""
    intake.take(lost_update())
    (tmp_path / "data" / "spool").mkdir()
    assert typed(BACKUP, str(tmp_path / "backup"), *beside) == 0
    assert "accesses: 6 rows" in capsys.readouterr().out
    with pytest.raises(CommandError, match="stop `noclobber up` first"):
        typed(RESTORE, str(tmp_path / "backup"), *beside)


@pytest.mark.long
def test_forget_beside_a_running_engine(intake: Intake, beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Through its API: what is there, and then nothing."""
    intake.take(lost_update())
    assert run("analyze", *beside) == 1
    assert typed(FORGET, "--resource", ACCOUNT, *beside) == 0
    assert "4 accesses, 1 findings" in capsys.readouterr().out
    assert typed(FORGET, "--resource", ACCOUNT, "--yes", *beside) == 0
    assert intake.store.rows("SELECT count() FROM accesses WHERE op != 'mark'") == [(0,)]
    assert intake.findings() == []
