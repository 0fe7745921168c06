"""Which run of a graph a saver's call belongs to: where the run set out, and whether it means to branch off.

A run (an invoke, or an update of a thread's state) goes on from the newest checkpoint, unless the user names one. A
context variable carries the run to the jobs that save its checkpoints. It knows which call got or made each of its
latest checkpoints, and which checkpoint was the newest when it began, as far as anybody in it asked.

Source: LangGraph's pregel/_loop.py (`__enter__`, `_checkpointer_put_after_previous`), pregel/main.py
(`bulk_update_state`), pregel/_checkpoint.py (`checkpoint_superseded`).
"""

import itertools
from collections import OrderedDict
from contextvars import ContextVar
from types import CodeType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Call
from noclobber.frameworks.langgraph_seams import wrap
from noclobber.guard import GUARD

__all__ = ["continuing", "got", "install", "site"]

CALLS_MAX: Final = 8
"""Checkpoints of one run whose calls are kept: the next put continues one of the last."""
NEWEST_MAX: Final = 10_000
"""Threads whose newest checkpoint is kept, as far as this process has seen it."""

_branches = itertools.count(1)
_newest: OrderedDict[str, str | None] = OrderedDict()


class _Run:
    """One invoke or update.

    Attributes:
        named: the checkpoint that the user told it to go on from, None where it takes the newest.
        site: where in the agent's code it began; its checkpoints are saved in threads that know nothing of that.
        branches_off: whether it is known to leave the newest aside; None where that is still to be found out.
    """

    __slots__ = ("_branch", "_calls", "_newest", "branches_off", "named", "site")

    def __init__(self, named: str | None, *, branches_off: bool | None = None) -> None:
        self.named = named
        self.branches_off = branches_off
        self._calls: OrderedDict[str | None, Call] = OrderedDict()
        self._newest: dict[str, str | None] = {}
        self._branch: str | None = None
        self.site: tuple[CodeType, int] | None = None

    def got(self, resource: str, version: str | None, call: Call, *, newest: bool) -> None:
        """A call of this run got or made `version`."""
        self._calls[version] = call
        self.site = self.site or call.site
        while len(self._calls) > CALLS_MAX:
            self._calls.popitem(last=False)
        if newest and self.named is not None:
            self._newest.setdefault(resource, version)

    def call_of(self, version: str | None) -> Call | None:
        """The call of this run that got or made `version`."""
        return self._calls.get(version)

    def branch(self, resource: str) -> str | None:
        """The branch of this run's puts, None where it goes on from the newest checkpoint."""
        if self.branches_off is None:
            newest = self._newest.get(resource, _newest.get(resource))
            self.branches_off = self.named is not None and self.named != newest
        if self.branches_off and self._branch is None:
            self._branch = f"{strands.process_id()}.{next(_branches)}"
        return self._branch


_run: ContextVar[_Run | None] = ContextVar("noclobber-langgraph-run", default=None)


def install() -> None:
    """Wrap where runs begin and where they save."""
    from langgraph.pregel import Pregel, _loop

    wrap(_loop.SyncPregelLoop, "__enter__", _in_loop)
    wrap(_loop.AsyncPregelLoop, "__aenter__", _ain_loop)
    wrap(_loop.SyncPregelLoop, "_checkpointer_put_after_previous", _in_loop)
    wrap(_loop.AsyncPregelLoop, "_checkpointer_put_after_previous", _ain_loop)
    wrap(Pregel, "bulk_update_state", _update)
    wrap(Pregel, "abulk_update_state", _aupdate)


def got(resource: str, version: str | None, call: Call, *, newest: bool) -> None:
    """A call got or made `version`; `newest`: it is the thread's newest checkpoint."""
    run = _run.get()
    if run is not None:
        run.got(resource, version, call, newest=newest)
    if newest:
        _newest[resource] = version
        _newest.move_to_end(resource)
        while len(_newest) > NEWEST_MAX:
            _newest.popitem(last=False)


def continuing(resource: str, parent: str | None) -> tuple[Call | None, str | None]:
    """The call that got or made `parent`, and the branch of a put that continues it."""
    run = _run.get()
    return (None, None) if run is None else (run.call_of(parent), run.branch(resource))


def site() -> tuple[CodeType, int] | None:
    """Where in the agent's code the run of the running code began."""
    run = _run.get()
    return run.site if run is not None else None


# -- where runs begin --------------------------------------------------------------------------------------------


def _of_loop(loop: Any) -> _Run:
    known: _Run | None = getattr(loop, "_noclobber_run", None)
    if known is None:
        named = loop.checkpoint_config["configurable"].get("checkpoint_id") or None
        replayed = loop.config["configurable"].get("__pregel_replay_state")
        known = loop._noclobber_run = _Run(named, branches_off=True if replayed else None)
    return known


def _entered(run: _Run | None) -> Any:
    return _run.set(run) if run is not None else None


def _left(token: Any) -> None:
    with GUARD:
        if token is not None:
            _run.reset(token)


def _enter_loop(loop: Any) -> Any:
    with GUARD:
        return _entered(_of_loop(loop))
    return None


def _in_loop(original: Any) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _enter_loop(self)
        try:
            return original(self, *args, **kwargs)
        finally:
            _left(token)

    return method


def _ain_loop(original: Any) -> Any:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _enter_loop(self)
        try:
            return await original(self, *args, **kwargs)
        except GeneratorExit:  # thrown away by the collector, in whatever context that runs
            token = None
            raise
        finally:
            _left(token)

    return method


def _enter_update(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with GUARD:
        config = args[0] if args else kwargs["config"]
        return _entered(_Run(config.get("configurable", {}).get("checkpoint_id") or None))
    return None


def _update(original: Any) -> Any:
    def bulk_update_state(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _enter_update(args, kwargs)
        try:
            return original(self, *args, **kwargs)
        finally:
            _left(token)

    return bulk_update_state


def _aupdate(original: Any) -> Any:
    async def abulk_update_state(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _enter_update(args, kwargs)
        try:
            return await original(self, *args, **kwargs)
        except GeneratorExit:
            token = None
            raise
        finally:
            _left(token)

    return abulk_update_state
