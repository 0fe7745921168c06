"""kill -9 of each process of `noclobber up` under load: what was acknowledged is there, once, and so are the findings.

Each shot is aimed at a phase of spool or loader, and recorded by the phase that it hit. Receiver and engine are shot at
side by side: while one of them starts again, traffic goes on and the other one dies. The short form runs always, the
form of fifty kills in continuous integration, and the long form until five hundred kills were made and each phase was
hit fifty times; it leaves a dated file of results after each round.
"""

import contextlib
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from ledger import Ledger, compare, is_written_once, open_findings
from load import Load
from pipeline import AIMED, Aim, Pipeline, Shot, next_aim
from processes import wait_until
from races import Racing, found_by_check
from results import write_result

from noclobber_collector.phases import Phase

READY_S = 3.0
PHASES = ("APPEND", "FSYNC", "INSERT", "VERIFY", "UNLINK", "IDLE")
RACES = 6
EACH_MIN, ALL_MIN = 50, 500
ENGINE_SHOTS = 25
"""Of one long round; the receiver is shot at as long as these take."""
BETWEEN_SPANS = 200
"""So many are acknowledged between two shots at one process."""
FOUND_S = 300.0
FEW: Sequence[Aim] = (
    ("receiver", Phase.APPEND),
    ("engine", Phase.INSERT),
    ("receiver", Phase.FSYNC),
    ("analyzer", None),
    ("supervisor", None),
)


class Round:
    """Some kills of one pipeline under load, and what they did.

    Args:
        folder: for the pipeline. shooters: aims, each at a thread of its own. shots: about how many these will be.

    Attributes:
        started_s: until OTLP was taken at the first start.
        shots: in order. ledger: after the last one, when all is loaded. torn: damaged bytes that were left.
        engine_ready_s: until the engine answered again after each shot at it, through a further one if there was one.
        hits: of processes and phases, as far as they are.
    """

    def __init__(self, folder: Path, *shooters: Iterable[Aim], shots: int, hits: Counter[str] | None = None) -> None:
        self.shots: list[Shot] = []
        self.hits: Counter[str] = Counter() if hits is None else hits
        self._folder, self._begun = folder, time.time()
        self._pipeline = pipeline = Pipeline(folder)
        self.started_s = pipeline.started_s
        try:
            with Load(pipeline.port, 8, pause_s=0.15) as self._load, contextlib.ExitStack() as stack:
                racing = stack.enter_context(Racing(pipeline.up.http, RACES, lambda: len(self.shots) / shots))
                with ThreadPoolExecutor(len(shooters)) as pool:
                    for done in [pool.submit(self._shoot, aims) for aims in shooters]:
                        done.result()
                self._load.wait_for(50)
            expected = found_by_check(folder, *racing.requests)
            assert len(expected) >= RACES
            pipeline.wait_until_loaded()
            rows = pipeline.up.rows
            wait_until(lambda: open_findings(rows) == expected, FOUND_S, what="the findings that `check` finds")
            assert is_written_once(rows)
            self.ledger: Ledger = compare(rows, self._load)
            self.torn = pipeline.damaged_bytes()
            assert pipeline.close() == 0
            self.engine_ready_s = pipeline.engine_ready_s
            self.output = pipeline.up.output
        finally:
            pipeline.close()

    def _shoot(self, aims: Iterable[Aim]) -> None:
        for part, aim in aims:
            self._load.wait_for(BETWEEN_SPANS, 120)
            shot = self._pipeline.kill(part, aim)
            if shot is not None:
                self.shots.append(shot)
                self.hits[f"{part} {shot.hit}"] += 1
            with (self._folder / "shots.txt").open("a") as file:
                file.write(f"{time.time() - self._begun:.1f} {part} {aim!r} {shot}\n")

    def assert_clean(self) -> None:
        """Nothing lost, nothing doubled, no torn tail left."""
        assert self.ledger.is_clean, self.ledger
        assert self.torn == 0
        killed = sum(shot.part in AIMED for shot in self.shots)
        assert self.output.count("killed by SIGKILL") == killed, self.output
        assert "Traceback" not in self.output, self.output


def assert_ready_in_time(*rounds: Round) -> None:
    """OTLP is taken again within three seconds, or on a busy machine as soon as at the very first start."""
    shots = [shot.ready_s for done in rounds for shot in done.shots if shot.part != "analyzer"]
    started_s = max(done.started_s for done in rounds)
    assert statistics.median(shots) <= max(READY_S, 1.5 * started_s), (shots, started_s)
    assert max(shots) <= 10 * max(READY_S, started_s), (shots, started_s)


@pytest.mark.long
def test_every_acknowledged_access_and_every_finding_is_there_once(tmp_path: Path) -> None:
    """Each process is killed, at phases of its own, while clients and racing agents go on sending."""
    done = Round(tmp_path / "run", FEW, shots=len(FEW))
    done.assert_clean()
    assert_ready_in_time(done)
    assert len(done.shots) == len(FEW)


def _side_by_side(folder: Path, engine_shots: int, hits: Counter[str]) -> Round:
    """Receiver and engine are shot at in the phases that were hit least, the analyzer between; then the supervisor."""
    shooting = True

    def at_engine() -> Iterator[Aim]:
        nonlocal shooting
        for _ in range(engine_shots):
            yield next_aim("engine", hits)
        shooting = False

    def at_receiver() -> Iterator[Aim]:
        while shooting:
            yield from [next_aim("receiver", hits), next_aim("receiver", hits), ("analyzer", None)]
        yield from [("supervisor", None)] * 2

    return Round(folder, at_engine(), at_receiver(), shots=3 * engine_shots, hits=hits)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_fifty_kills(tmp_path: Path) -> None:
    """Some fifty times, receiver and engine side by side."""
    done = _side_by_side(tmp_path / "run", 18, Counter())
    done.assert_clean()
    assert_ready_in_time(done)
    assert len(done.shots) >= 45


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(14_400)
def test_five_hundred_kills(tmp_path: Path) -> None:
    """Each phase is hit fifty times at least; the result is kept."""
    rounds: list[Round] = []
    hits: Counter[str] = Counter()
    begun = time.time()
    while hits.total() < ALL_MIN or any(_times(hits, phase) < EACH_MIN for phase in PHASES):
        folder = tmp_path / f"run{len(rounds)}"
        done = _side_by_side(folder, ENGINE_SHOTS, hits)
        done.assert_clean()
        rounds.append(done)
        shutil.rmtree(folder / "data")
        _write(rounds, hits, begun)  # also of a run that somebody ends early
    assert_ready_in_time(*rounds)


def _times(hits: Counter[str], phase: str) -> int:
    """How often a phase was hit, in whichever process."""
    return sum(hits[f"{part} {phase}"] for part in AIMED)


def _write(rounds: list[Round], hits: Counter[str], begun: float) -> None:
    shots = [shot for done in rounds for shot in done.shots]
    write_result(
        "kill",
        {
            "kills": len(shots),
            "by_phase": {phase.name: _times(hits, phase.name) for phase in Phase if _times(hits, phase.name)},
            "by_process_and_phase": dict(sorted(hits.items())),
            "by_process": dict(Counter(shot.part for shot in shots)),
            "rounds": [asdict(done.ledger) for done in rounds],
            "acknowledged": sum(done.ledger.acknowledged for done in rounds),
            "acknowledged_lost": sum(done.ledger.lost for done in rounds),
            "visible_twice": sum(done.ledger.visible_twice for done in rounds),
            "findings_lost_or_doubled": 0,
            "torn_bytes_left": sum(done.torn for done in rounds),
            "ready_s": _spread([shot.ready_s for shot in shots if shot.part != "analyzer"]),
            "analyzer_again_s": _spread([shot.ready_s for shot in shots if shot.part == "analyzer"]),
            "engine_ready_s": _spread([each for done in rounds for each in done.engine_ready_s]),
            "minutes": round((time.time() - begun) / 60, 1),
        },
    )


def _spread(found: list[float]) -> dict[str, float]:
    found = sorted(round(each, 3) for each in found)
    return {"median": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "max": found[-1]}
