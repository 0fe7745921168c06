"""Switches a process's instrumentation on, whichever way it came in."""

import os

from noclobber.guard import GUARD
from noclobber.settings import Settings, load

__all__ = ["activate", "deactivate"]


def activate(settings: Settings | None = None, program: str | None = None) -> bool:
    """Start the recorder and hook everything; whether noclobber is on now. Never raises.

    Args:
        settings: how; read from the environment where None.
        program: path of the running script, where `sys.argv` does not hold it yet.
    """
    if os.environ.get("NOCLOBBER_DISABLED", "").strip().lower() in ("1", "true", "yes", "on"):
        return False
    with GUARD:
        chosen = settings or load(program=program)
        if chosen.disabled:
            return False
        from noclobber import recorder, tasks, threads
        from noclobber.bootstrap import registry

        active = recorder.start(chosen)
        threads.install()
        tasks.install()
        registry.install(chosen)
        if "NOCLOBBER_CHAOS" in os.environ or "NOCLOBBER_STEER" in os.environ:
            from noclobber.pacing.start import begin

            begin(active)
        return True
    return False


def deactivate() -> None:
    """Take every hook out and hand over what was recorded."""
    from noclobber import recorder, tasks, threads
    from noclobber.bootstrap import registry

    registry.uninstall()
    tasks.uninstall()
    threads.uninstall()
    recorder.stop()
