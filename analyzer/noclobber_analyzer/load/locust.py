"""Locust: users that are agents, and races between them in its statistics, its exit code and its web page.

    from locust import task
    from noclobber_analyzer.load.locust import AgentUser

    class Booker(AgentUser):
        @task
        def book(self): ...

Each user is a strand (a greenlet) and an agent, each pass of a task a run of its own, a a request of type `agent`.
What they do to shared state is watched in this process and judged every few seconds and at the end: each race at or
above the thresholds is a failed request of type `race`, so it stands among the failures, and Locust's exit code is 1.
The page `/noclobber` tells each in full. Workers judge what they did themselves and tell the master, and nothing that
rests on what nobody did; a race between two workers is seen by the sidecar only.

Source: locust/event.py, locust/user, locust/web.py (2.47).
"""

import functools
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import gevent
from locust import User, events
from locust.exception import InterruptTaskSet, RescheduleTask, StopTest, StopUser
from locust.runners import MasterRunner, WorkerRunner
from locust.user.task import TaskSet

from noclobber import scope
from noclobber.contract import Certainty, Kind, Severity
from noclobber.settings import load
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.likeness import likeness
from noclobber_analyzer.load.race_page import page
from noclobber_analyzer.report.summary import Thresholds
from noclobber_analyzer.watching import RING_MAX, Watched, hooked, watched

__all__ = ["AgentUser", "RaceError"]

EVERY_S: Final = 5.0
"""How often is judged while the test runs."""
WHILE_RUNNING_MAX: Final = 50_000
"""Accesses; with more only the end is judged, since judging takes the time of the users."""
KEPT_MAX: Final = 1_000
"""Findings that are told one by one; more are counted."""
_FROM_ABSENCE: Final = frozenset({
    Kind.STALE_READ, Kind.READ_YOUR_WRITES, Kind.MONOTONIC_READS, Kind.MONOTONIC_WRITES, Kind.WRITES_FOLLOW_READS,
    Kind.CAUSAL_VIOLATION, Kind.GARBAGE_READ, Kind.LOST_MESSAGE, Kind.UNKNOWN_WRITER, Kind.BLIND_OVERWRITE,
})  # fmt: skip
"""Kinds that rest on what nobody did: one of several workers does not know that."""
_NOT_FAILURES: Final = (InterruptTaskSet, RescheduleTask, StopTest, StopUser, gevent.GreenletExit)
_numbers = itertools.count(1)
_turns = itertools.count(1)


class RaceError(Exception):
    """What the statistics show as the failure: one race, in its sentence."""


class AgentUser(User):  # type: ignore[misc]  # Locust is not there where types are checked
    """A user whose tasks are an agent's; named after its class and a number."""

    abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_name = f"{type(self).__name__}-{next(_numbers)}"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.tasks = [_acting(each) for each in cls.tasks]


def _acting(task: Any) -> Any:
    """`task` as a run of its own, timed; sets of tasks are left as they are."""
    if getattr(task, "_noclobber", False) or (isinstance(task, type) and issubclass(task, TaskSet)):
        return task

    @functools.wraps(task)
    def act(user: Any, *args: Any, **kwargs: Any) -> Any:
        name, error, began_s = user.agent_name, None, time.perf_counter()
        try:
            with scope.entered(name, f"{name}-{next(_turns)}", task.__name__):
                return task(user, *args, **kwargs)
        except _NOT_FAILURES:
            raise
        except Exception as raised:
            error = raised
            raise
        finally:
            user.environment.events.request.fire(
                request_type="agent", name=task.__name__, response_time=(time.perf_counter() - began_s) * 1000,
                response_length=0, exception=error, context={},
            )  # fmt: skip

    act._noclobber = True  # type: ignore[attr-defined]  # a mark
    return act


# -- one test --------------------------------------------------------------------------------------------------------


class _Watch:
    """What the users of one process do, and what was found."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        options = environment.parsed_options
        self.limits = Thresholds(
            Severity(getattr(options, "noclobber_fail_on", "low")),
            Certainty(getattr(options, "noclobber_min_certainty", "likely")),
        )
        self._settings = replace(
            load(), send=False, file=None, spool=None, cpu_budget=0.0, ring_max=RING_MAX, agent=None, exact=()
        )
        alone = not isinstance(environment.runner, WorkerRunner)
        self.untold = frozenset() if alone else _FROM_ABSENCE
        self._hooks = hooked(self._settings)
        self._hooks.__enter__()
        self._watching: Any = None
        self._watched: Watched | None = None
        self._judge: Any = None
        self.found: dict[str, dict[str, Any]] = {}
        self.told: set[str] = set()
        self._said: dict[str, str] = {}
        self.accesses = self.more = 0

    def begin(self) -> None:
        """The users start."""
        self.found.clear()
        self.told.clear()
        self.accesses = self.more = 0
        self._watching = watched(self._settings)
        self._watched = self._watching.__enter__()
        self._judge = gevent.spawn(self._go_on)

    def end(self) -> None:
        """They have ended; the last verdict."""
        if self._watching is None:
            return
        self._judge.kill()
        self._judged()
        self._watching.__exit__(None, None, None)
        self._watching = self._watched = None

    def _go_on(self) -> None:
        while True:
            gevent.sleep(EVERY_S)
            if self._watched is not None and self._watched.accesses <= WHILE_RUNNING_MAX:
                self._judged()

    def _judged(self) -> None:
        if self._watched is None:
            return
        self.accesses = self._watched.accesses
        for finding in self._watched.findings():
            if finding.id in self.found or finding.kind in self.untold:
                continue
            if len(self.found) >= KEPT_MAX:
                self.more += 1
                continue
            self.found[finding.id] = json.loads(finding.to_json())
            if self.limits.fails(finding):
                self._fail(finding)
        _catch_up()

    def _fail(self, finding: Finding) -> None:
        """One race is one failed request; its time is how long the window was open. One bug is told in one sentence."""
        said = self._said.setdefault(likeness(finding), finding.explanation)
        self._environment.events.request.fire(
            request_type="race", name=str(finding.kind), response_time=(finding.last_ns - finding.first_ns) / 1e6,
            response_length=0, exception=RaceError(said), context={},
        )  # fmt: skip


_watches: dict[int, _Watch] = {}


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # Locust's
def _add_options(parser: Any) -> None:
    known = {"include_in_web_ui": False, "metavar": "GRADE"}
    parser.add_argument("--noclobber-fail-on", default="low", help="least severity that is a failure", **known)
    parser.add_argument("--noclobber-min-certainty", default="likely", help="least certainty that is one", **known)


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust's
def _begin(environment: Any, **_more: Any) -> None:
    watch = _watches[id(environment)] = _Watch(environment)
    on = environment.events
    if not isinstance(environment.runner, MasterRunner):
        on.test_start.add_listener(lambda **_: watch.begin())
        on.test_stop.add_listener(lambda **_: watch.end())
    on.quitting.add_listener(lambda environment, **_: _decide(environment, watch))
    if isinstance(environment.runner, WorkerRunner):
        on.report_to_master.add_listener(lambda data, **_: _report(data, watch))
    if isinstance(environment.runner, MasterRunner):
        on.worker_report.add_listener(lambda data, **_: _heard(data, watch))
    if environment.web_ui is not None:
        _add_pages(environment.web_ui.app, watch)
    _catch_up()


def _catch_up() -> None:
    """A loop that was kept waiting has an old clock, by which what is to happen later would happen at once."""
    gevent.get_hub().loop.update_now()


def _decide(environment: Any, watch: _Watch) -> None:
    """Locust exits with 1 where requests failed; so it does where that was switched off, and races were found."""
    if any(_fails(each, watch.limits) for each in watch.found.values()):
        environment.process_exit_code = environment.process_exit_code or 1


def _fails(found: dict[str, Any], limits: Thresholds) -> bool:
    return limits.fails(Finding.from_json(json.dumps(found)))


def _report(data: dict[str, Any], watch: _Watch) -> None:
    new = {name: found for name, found in watch.found.items() if name not in watch.told}
    watch.told.update(new)
    data["noclobber"] = {"found": list(new.values()), "accesses": watch.accesses, "more": watch.more}


def _heard(data: dict[str, Any], watch: _Watch) -> None:
    told = data.get("noclobber") or {}
    for found in told.get("found", ()):
        watch.found.setdefault(found["id"], found)
    watch.accesses = max(watch.accesses, told.get("accesses", 0))


def _add_pages(app: Any, watch: _Watch) -> None:
    def shown() -> tuple[str, int, dict[str, str]]:
        text = page(list(watch.found.values()), watch.accesses, watch.more)
        return text, 200, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'none'"}

    def listed() -> tuple[str, int, dict[str, str]]:
        said = {"findings": list(watch.found.values()), "accesses": watch.accesses, "more": watch.more}
        return json.dumps(said), 200, {"Content-Type": "application/json"}

    views: dict[str, Callable[[], Any]] = {"/noclobber": shown, "/noclobber.json": listed}
    for path, view in views.items():
        app.add_url_rule(path, f"noclobber{path}", view)
