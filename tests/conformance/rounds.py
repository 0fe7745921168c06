"""Rounds of the demo's acts, each judged twice: by the observer of the server, and by noclobber from the round's file.

Rounds are played in lanes, a few at a time; each lane has servers and an observer of its own, so that none hears
another's work.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from noclobber.contract import Certainty, Defence
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_sidecar.demo.observer import Verdict
from noclobber_sidecar.demo.scenarios import SCENARIOS, Act, OpenAct
from noclobber_sidecar.demo.stage import perform

__all__ = ["ACTS", "Round", "Tally", "play", "problems", "sanity", "strong"]

ACTS = {act.name: act for scenario in SCENARIOS.values() for act in scenario.acts}
LANES = 2


@dataclass(frozen=True, slots=True)
class Round:
    """One round and both verdicts on it.

    Attributes:
        key: what the state of this round is called.
        file: the agents' spans, OTLP as JSON lines.
        verdict: the observer's. lines: what the agents printed.
        findings: strong ones: likely or certain, and it happened. defended: why others' writes did no harm.
        unknown: what noclobber could not judge, and how many spans it knows to be lost.
    """

    key: str
    file: Path
    verdict: Verdict
    lines: tuple[str, ...]
    findings: tuple[Finding, ...]
    defended: tuple[Defence, ...]
    unknown: tuple[str, ...]

    @property
    def agreed(self) -> bool:
        """Whether noclobber reports something if and only if something was lost."""
        return bool(self.findings) == self.verdict.lost

    def __str__(self) -> str:
        told = [f"{each.kind} ({each.certainty}): {each.explanation}" for each in self.findings]
        return f"{self.key}: {self.verdict}; {self.lines}; {told}; {self.unknown}; {self.file}"


@dataclass(frozen=True, slots=True)
class Tally:
    """How often what happened."""

    lost: int
    kept: int
    restored: int
    defended: int

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> "Tally":
        """Count rounds by outcome; `defended` counts those in which something was."""
        lost = sum(each.verdict.lost for each in rounds)
        return cls(
            lost, len(rounds) - lost, sum(r.verdict.restored for r in rounds), sum(bool(r.defended) for r in rounds)
        )


def strong(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that say that it happened, and are at least likely."""
    return tuple(each for each in findings if each.manifest and each.certainty is not Certainty.POSSIBLE)


def play(act: Act, folder: Path, count: int, *, safely: bool = False, exact: bool = False) -> list[Round]:
    """Play `count` rounds of an act, `LANES` at a time."""
    lanes = min(LANES, count)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_lane(act, folder / f"lane-{lane}")) for lane in range(lanes)]
        pool = stack.enter_context(ThreadPoolExecutor(lanes))

        def run(lane: int) -> list[Round]:
            numbers = range(lane + 1, count + 1, lanes)
            return [_round(opened[lane], number, folder, safely, exact) for number in numbers]

        return [each for rounds in pool.map(run, range(lanes)) for each in rounds]


@contextlib.contextmanager
def _lane(act: Act, folder: Path) -> Iterator[OpenAct]:
    folder.mkdir(parents=True)
    with act.open(folder) as opened:
        yield opened


def _round(opened: OpenAct, number: int, folder: Path, safely: bool, exact: bool) -> Round:
    file = folder / f"round-{number}.jsonl"
    environment = {**os.environ, "NOCLOBBER_FILE": str(file), "NOCLOBBER_FILE_ONLY": "1", "NOCLOBBER_KEY": "a key"}
    opened.observer.prepare(number)
    performance = perform(opened.programs(number, safely), environment=environment, exact=exact)
    verdict = opened.observer.judge(number, performance.lines)
    history = read_otlp([str(file)])
    evaluation = evaluate(history)
    unknown = [*evaluation.unknown, *(["spans were lost"] if history.coverage.lost_spans else [])]
    return Round(
        key=opened.observer.key(number),
        file=file,
        verdict=verdict,
        lines=performance.lines,
        findings=strong(evaluation.findings),
        defended=tuple(each.reason for each in evaluation.defended),
        unknown=tuple(unknown),
    )


def problems(file: Path) -> list[str]:
    """What the contract's own checker finds wrong in a file; nothing where it is not at hand."""
    checker = sanity()
    return [] if checker is None else sorted(set(checker.read(str(file))[0]))


def sanity() -> ModuleType | None:
    """The independent check of spans against the contract, where its folder is named."""
    place = os.environ.get("NOCLOBBER_HISTORIES")
    if not place:
        return None
    spec = importlib.util.spec_from_file_location("sanity", Path(place) / "sanity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
