"""Pacing for a process that was asked for it by its environment; `noclobber chaos` and `noclobber confirm` set that."""

import logging
import os
from pathlib import Path

from noclobber import recorder
from noclobber.pacing.pacer import Pacer

__all__ = ["begin"]

log = logging.getLogger("noclobber")


def begin(active: "recorder.Recorder") -> None:
    """Pace `active` as `NOCLOBBER_STEER` or `NOCLOBBER_CHAOS` says; a plan that can't be used is told and left."""
    pacer = _asked_for()
    if pacer is not None:
        pacer.begin(active)


def _asked_for() -> Pacer | None:
    from noclobber.pacing.plan import DEFAULT, PlanError, load

    script, plan = os.environ.get("NOCLOBBER_STEER"), os.environ.get("NOCLOBBER_CHAOS")
    try:
        if script:
            from noclobber.pacing.steering import Steering, script_of

            return Steering(script_of(Path(script)))
        if plan:
            from noclobber.pacing.chaos import Chaos

            chosen, seed = DEFAULT if plan == "default" else load(Path(plan)), os.environ.get("NOCLOBBER_CHAOS_SEED")
            told = os.environ.get("NOCLOBBER_CHAOS_FILE")
            return Chaos(chosen.seeded(int(seed)) if seed else chosen, Path(told) if told else None)
    except (PlanError, OSError, ValueError) as error:
        log.warning("noclobber holds nobody: %s", error)
    return None
