"""kill -9 of each process of `noclobber up` under load: what was acknowledged is there, once, and so are the findings.

Each shot is aimed at a phase of spool or loader, and recorded by the phase that it hit. The short form runs always, the
form of fifty kills in continuous integration, and the long form until five hundred kills were made and each phase was
hit fifty times; it leaves a dated file of results.
"""

import contextlib
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from ledger import Ledger, compare, is_written_once, open_findings
from load import Load
from pipeline import Aim, Pipeline, Shot, aims_of
from processes import wait_until
from races import Racing, found_by_check
from results import write_result

from noclobber_collector.phases import Phase

READY_S = 3.0
PHASES = ("APPEND", "FSYNC", "INSERT", "VERIFY", "UNLINK", "IDLE")
RACES = 6
EACH_MIN, ALL_MIN, ROUND = 50, 500, 50
FOUND_S = 300.0
FEW: Sequence[Aim] = (
    ("receiver", Phase.APPEND, 0),
    ("engine", Phase.INSERT, 60_000),
    ("receiver", Phase.FSYNC, 300),
    ("supervisor", None, 0),
)


class Round:
    """Some kills of one pipeline under load, and what they did.

    Attributes:
        started_s: until OTLP was taken at the first start.
        shots: in order. ledger: after the last one, when all is loaded. torn: damaged bytes that were left.
        engine_ready_s: until the engine answered again after each shot at it, through a further one if there was one.
    """

    def __init__(self, folder: Path, aims: Sequence[Aim]) -> None:
        self.shots: list[Shot] = []
        begun = time.time()
        pipeline = Pipeline(folder)
        self.started_s = pipeline.started_s
        try:
            with Load(pipeline.port, 8, pause_s=0.15) as load, contextlib.ExitStack() as stack:
                racing = stack.enter_context(Racing(pipeline.up.http, RACES, lambda: len(self.shots) / len(aims)))
                for part, aim, later_us in aims:
                    load.wait_for(50)
                    shot = pipeline.kill(part, aim, later_us)
                    self.shots += [shot] if shot else []
                    with (folder / "shots.txt").open("a") as file:
                        file.write(f"{time.time() - begun:.1f} {part} {aim!r} {shot}\n")
                load.wait_for(50)
            expected = found_by_check(folder, *racing.requests)
            assert len(expected) >= RACES
            pipeline.wait_until_loaded()
            rows = pipeline.up.rows
            wait_until(lambda: open_findings(rows) == expected, FOUND_S, what="the findings that `check` finds")
            assert is_written_once(rows)
            self.ledger: Ledger = compare(rows, load)
            self.torn = pipeline.damaged_bytes()
            assert pipeline.close() == 0
            self.engine_ready_s = pipeline.engine_ready_s
            self.output = pipeline.up.output
        finally:
            pipeline.close()

    def assert_clean(self) -> None:
        """Nothing lost, nothing doubled, no torn tail left."""
        assert self.ledger.is_clean, self.ledger
        assert self.torn == 0
        assert "Traceback" not in self.output, self.output


def assert_ready_in_time(*rounds: Round) -> None:
    """OTLP is taken again within three seconds, or on a busy machine as soon as at the very first start."""
    shots = [shot.ready_s for done in rounds for shot in done.shots]
    started_s = max(done.started_s for done in rounds)
    assert statistics.median(shots) <= max(READY_S, 1.5 * started_s), (shots, started_s)
    assert max(shots) <= 10 * max(READY_S, started_s), (shots, started_s)


def test_every_acknowledged_access_and_every_finding_is_there_once(tmp_path: Path) -> None:
    """Each process is killed, at phases of its own, while clients and racing agents go on sending."""
    done = Round(tmp_path / "run", FEW)
    done.assert_clean()
    assert_ready_in_time(done)
    assert len(done.shots) == len(FEW)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_fifty_kills(tmp_path: Path) -> None:
    """The same, fifty times."""
    done = Round(tmp_path / "run", aims_of(50, int(time.time())))
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
    while sum(hits.values()) < ALL_MIN or any(hits[phase] < EACH_MIN for phase in PHASES):
        done = Round(tmp_path / f"run{len(rounds)}", aims_of(ROUND, int(begun) + len(rounds)))
        done.assert_clean()
        rounds.append(done)
        shutil.rmtree(tmp_path / f"run{len(rounds) - 1}" / "data")
        hits += Counter(shot.hit for shot in done.shots)
        _write(rounds, hits, begun)  # also of a run that somebody ends early
    assert_ready_in_time(*rounds)


def _write(rounds: list[Round], hits: Counter[str], begun: float) -> None:
    shots = [shot for done in rounds for shot in done.shots]
    write_result(
        "kill",
        {
            "kills": len(shots),
            "by_phase": dict(sorted(hits.items())),
            "by_process": dict(Counter(shot.part for shot in shots)),
            "rounds": [asdict(done.ledger) for done in rounds],
            "acknowledged": sum(done.ledger.acknowledged for done in rounds),
            "acknowledged_lost": sum(done.ledger.lost for done in rounds),
            "visible_twice": sum(done.ledger.visible_twice for done in rounds),
            "findings_lost_or_doubled": 0,
            "torn_bytes_left": sum(done.torn for done in rounds),
            "ready_s": _spread([shot.ready_s for shot in shots]),
            "engine_ready_s": _spread([each for done in rounds for each in done.engine_ready_s]),
            "minutes": round((time.time() - begun) / 60, 1),
        },
    )


def _spread(found: list[float]) -> dict[str, float]:
    found = sorted(round(each, 3) for each in found)
    return {"median": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "max": found[-1]}
