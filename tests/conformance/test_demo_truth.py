"""The demo's verdict is right both ways: a finding if and only if the server itself shows the loss.

The agents think for random times, so that some rounds lose work and others do not. In the long form both outcomes have
to occur often enough to mean something.
"""

import ast
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from rounds import ACTS, Round, Tally, play, sanity

from noclobber.contract import Certainty
from noclobber_sidecar.demo.scenarios import AccountAct
from noclobber_sidecar.demo.stage import AGENTS, perform

ROUNDS = 50
OUTCOMES_MIN = 5
SCOPES = {
    "account": "noclobber.redis",
    "langgraph store": "noclobber.langgraph",
    "langgraph thread": "noclobber.langgraph",
    "sql update": "noclobber.sqlalchemy",
    "sql dirty read": "noclobber.sqlalchemy",
    "queue": "noclobber.sqlalchemy",
}
TWINS = {**ACTS, "account, watched": AccountAct(cure="WATCH, MULTI and EXEC", twin="watch")}
"""The safe twins: those of the demo, and the account's second one, which refuses instead of adding."""
HELPERS = {"noclobber.recorder", "noclobber.strands", "noclobber.redis", "noclobber.python"}
"""Scopes that may come with any: marks, joins of threads, and a lock on Redis."""


def disagreements(name: str, rounds: Sequence[Round]) -> list[str]:
    """Where the observer and noclobber see it differently, or noclobber speaks of something else."""
    wrong = [str(each) for each in rounds if not each.agreed or each.unknown]
    for each in rounds:
        for finding in each.findings:
            if finding.kind is not ACTS[name].kind:
                wrong.append(f"another kind: {each}")
    return wrong


@pytest.fixture(scope="module", params=["account", "sql dirty read"])
def short(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Round]]:
    """A few rounds of an act that starts fast, for all tests that look at what is in them."""
    return request.param, play(ACTS[request.param], tmp_path_factory.mktemp("race"), 3)


def test_a_few_rounds_are_judged_rightly(short: tuple[str, list[Round]]) -> None:
    """Three rounds of the race, without asking for an outcome."""
    assert disagreements(*short) == []


@pytest.mark.parametrize("name", ["account", "sql dirty read"])
def test_a_round_of_the_safe_twin_is_silent(tmp_path: Path, name: str) -> None:
    """Nothing is lost, nothing is reported."""
    (twin,) = play(ACTS[name], tmp_path, 1, safely=True)
    assert (twin.verdict.lost, twin.findings) == (False, ()), str(twin)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ACTS)
def test_a_finding_if_and_only_if_something_was_lost(tmp_path: Path, name: str) -> None:
    """Fifty rounds, both outcomes at least five times, not one disagreement."""
    rounds = play(ACTS[name], tmp_path, ROUNDS)
    tally = Tally.of(rounds)
    print(name, tally)
    assert disagreements(name, rounds) == []
    assert min(tally.lost, tally.kept) >= OUTCOMES_MIN
    assert contract_problems(rounds) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", TWINS)
def test_the_safe_twin_is_silent_and_something_was_defended(tmp_path: Path, name: str) -> None:
    """Fifty rounds of the same work done safely: nothing is lost, nothing reported, and guards are seen at work."""
    rounds = play(TWINS[name], tmp_path, ROUNDS, safely=True)
    tally = Tally.of(rounds)
    print(name, "safely", tally)
    assert [str(each) for each in rounds if each.verdict.lost or each.findings or each.unknown] == []
    assert tally.defended >= OUTCOMES_MIN
    assert contract_problems(rounds) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_exact_mode_is_certain(tmp_path: Path) -> None:
    """Where the store may be asked what a write replaced, every loss is certain, and still nothing else is found."""
    rounds = play(ACTS["account"], tmp_path, ROUNDS, exact=True)
    tally = Tally.of(rounds)
    print("account exact", tally)
    assert disagreements("account", rounds) == []
    assert {finding.certainty for each in rounds for finding in each.findings} == {Certainty.CERTAIN}
    assert min(tally.lost, tally.kept) >= OUTCOMES_MIN


def test_the_agents_do_not_know_noclobber() -> None:
    """Not a line about it in any program."""
    programs = sorted(AGENTS.glob("*.py"))
    assert len(programs) == len({"account", "editors", "graph_store", "graph_thread", "ledger", "worker"})
    for program in programs:
        source = program.read_text()
        assert "noclobber" not in source.lower(), program.name
        imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert imported


@pytest.mark.parametrize("name", ["account", "sql dirty read"])
def test_the_agents_run_where_noclobber_cannot_be_imported(tmp_path: Path, name: str) -> None:
    """As they are, without `noclobber run`, and with a package of that name which breaks whoever imports it."""
    (tmp_path / "noclobber.py").write_text("raise SystemExit('an agent imported noclobber')\n")
    stage = tmp_path / "stage"
    stage.mkdir()
    with ACTS[name].open(stage) as opened:
        opened.observer.prepare(1)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        performance = perform(opened.programs(1, False), environment=environment, instrumented=False, longest_s=0.05)
    assert performance.lines


def test_spans_carry_their_librarys_scope(short: tuple[str, list[Round]]) -> None:
    """Whose call a span tells of stands in its scope: `noclobber.{library}`."""
    name, rounds = short
    for each in rounds:
        scopes = scopes_of(each.file)
        assert SCOPES[name] in scopes
        assert scopes <= {SCOPES[name], *HELPERS}


def test_spans_follow_the_contract(short: tuple[str, list[Round]]) -> None:
    """The contract's own checker finds nothing wrong in a round's file."""
    if sanity() is None:
        pytest.skip("NOCLOBBER_HISTORIES does not name the folder with the contract's checker, sanity.py")
    assert contract_problems(short[1]) == []


def contract_problems(rounds: Sequence[Round]) -> list[str]:
    """What the contract's checker says of the rounds' files; nothing where it is not at hand."""
    checker = sanity()
    if checker is None:
        return []
    return sorted({f"{problem} in {each.file}" for each in rounds for problem in checker.read(str(each.file))[0]})


def scopes_of(file: Path) -> set[str]:
    return {
        scope["scope"]["name"]
        for line in file.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
    }
