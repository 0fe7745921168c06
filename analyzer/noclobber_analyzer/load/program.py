"""The process in which agents work: `python -m noclobber_analyzer.load.program`, started by `noclobber load`.

It starts under the boot folder of `noclobber run`, so libraries are hooked before the scenario imports them. What it
has to say goes as JSON lines to a pipe of its parent's, since standard output belongs to the scenario.
"""

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Final

from noclobber import recorder
from noclobber_analyzer.load.drivers import DRIVERS, Work, drive
from noclobber_analyzer.load.scenario import ScenarioError, scenario

__all__ = ["main"]

TELL_EVERY_S: Final = 1.0


def main() -> None:
    """Work, and tell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--driver", choices=DRIVERS)
    parser.add_argument("--accesses-max", type=int, required=True)
    parser.add_argument("--tell", type=int, required=True, help="descriptor of the pipe")
    words = parser.parse_args()
    with os.fdopen(words.tell, "w") as pipe:
        teller = _Teller(pipe)
        try:
            with scenario(words.scenario) as found:
                driver = words.driver or ("asyncio" if found.is_async else "threads")
                work = Work(words.seconds)
                signal.signal(signal.SIGINT, lambda *_: work.stop())
                signal.signal(signal.SIGTERM, lambda *_: work.stop())
                told = threading.Thread(target=teller.go_on, args=(work, words.accesses_max), daemon=True)
                told.start()
                drive(found, words.agents, driver, work)
                teller.end()
                told.join(TELL_EVERY_S)
                teller.say(driver=driver, last=True, first_error=work.first_error, **_state(work))
        except ScenarioError as error:
            teller.say(unusable=str(error))
        except Exception as error:  # of the scenario's module, or of what it starts
            teller.say(unusable=f"{words.scenario} can't be used: {type(error).__name__}: {error}")
            raise
    if work_is_left := [each for each in threading.enumerate() if each.name.startswith("noclobber-load")]:
        recorder.stop()  # an agent hangs in its task, and would hold this process for ever
        sys.stderr.write(f"{len(work_is_left)} agents did not end\n")
        sys.stderr.flush()
        os._exit(0)


class _Teller:
    """Says how it goes, each second."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def say(self, **facts: object) -> None:
        """One line; nothing where nobody listens any more."""
        with self._writing, suppress(OSError, ValueError):
            self._pipe.write(json.dumps(facts) + "\n")
            self._pipe.flush()

    def go_on(self, work: Work, accesses_max: int) -> None:
        """Until the end; too many accesses are an end, too."""
        while not self._ended.wait(TELL_EVERY_S):
            state = _state(work)
            self.say(**state)
            if state["accesses"] >= accesses_max:
                work.stop()

    def end(self) -> None:
        """Say no more by itself."""
        self._ended.set()


def _state(work: Work) -> dict[str, Any]:
    active = recorder.active()
    return {
        "seconds": round(work.elapsed_s, 3), "done": work.done, "failed": work.failed, "unfinished": work.unfinished,
        "errors": dict(work.errors.most_common(5)), "accesses": 0 if active is None else active.accesses,
    }  # fmt: skip


if __name__ == "__main__":
    main()
