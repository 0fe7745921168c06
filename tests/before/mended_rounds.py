"""A program, run again and again under chaos in one process, and what the evaluator says of each run.

Where a fresh process adds nothing, twenty runs need not import their libraries twenty times: each run is a recorder
of its own, as each test is for the plugin. Arguments: first seed, number of runs, the program and its arguments.
Prints one line of JSON: runs, accesses in the run with fewest, findings at `likely` or above.
"""

import json
import runpy
import sys
from dataclasses import replace

from noclobber.contract import Certainty
from noclobber.pacing.chaos import Chaos
from noclobber.pacing.plan import DEFAULT
from noclobber.settings import load
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.watching import RING_MAX, hooked, watched


def main(first: int, runs: int, program: str, words: list[str]) -> None:
    """Run it, and tell."""
    settings = replace(load(), send=False, file=None, spool=None, cpu_budget=0.0, ring_max=RING_MAX, agent=None)
    sys.argv = [program, *words]
    fewest, held, found = sys.maxsize, 0, []
    with hooked(settings):
        for seed in range(first, first + runs):
            with watched(settings) as seen:
                chaos = Chaos(DEFAULT.seeded(seed))
                chaos.begin(seen.recorder)
                try:
                    runpy.run_path(program, run_name="__main__")
                finally:
                    chaos.end(seen.recorder)
                fewest, held = min(fewest, seen.accesses), held + len(chaos.injected)
                found += [{"seed": seed, "kind": str(each.kind)} for each in seen.findings() if _counts(each)]
    print(json.dumps({"runs": runs, "accesses": fewest, "held": held, "findings": found}))


def _counts(finding: Finding) -> bool:
    return finding.certainty in (Certainty.LIKELY, Certainty.CERTAIN)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
