"""Checkpoint savers: which checkpoint was read, which was put on which parent.

A checkpoint never changes, and each names its parent: a thread is a chain of versions, and a put says itself which one
it continues. Two puts on one parent are a fork, whatever else is known. Wrapped are the methods of every concrete
saver. A run that goes on from a checkpoint which the user named, and which is not the newest, means to branch off: its
puts carry a branch of their own.

Not recorded: `list` (history, nothing is decided from it) and `put_writes` (kept under a task's own id, so nobody
else's are replaced).

Source: langgraph/checkpoint/base; pregel/_loop.py (`_put_checkpoint`, `_addressed`); capture.md 5;
langchain-ai/langgraph#6728, #8796.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from noclobber import clock, recorder
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import ABSENT, Attr, BaseSource, Op, Outcome, VersionKind, WriteMode
from noclobber.frameworks import langgraph_invokes as invokes
from noclobber.frameworks.langgraph_hidden import OF_SAVERS, hide
from noclobber.frameworks.langgraph_places import place_of
from noclobber.frameworks.langgraph_seams import arecorded, begin, is_hidden, recorded, watch, wrap
from noclobber.resources import quoted
from noclobber.scope import merged

__all__ = ["install"]

SYSTEM: Final = "langgraph.checkpoint"
DELETIONS: Final = 2
"""Accesses of one deletion of a thread: its own chain, and those of the graphs below it."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the hook saw of one call.

    Attributes:
        op: what was done. resource: the chain of checkpoints. version: what was got or made, None where nothing was.
        parent: of a put: the checkpoint that it continues. parent_call: the call that got or made it.
        named: whether the caller asked for one checkpoint by its id. branch: of a put.
    """

    op: Op
    resource: str
    version: str | None = None
    parent: str | None = None
    parent_call: Call | None = None
    named: bool = False
    branch: str | None = None


def install() -> None:
    """Wrap all savers, and what tells where a run of a graph begins."""
    watch(BaseCheckpointSaver, _patch)
    invokes.install()


def _patch(saver: type) -> None:
    wrap(saver, "get_tuple", recorded(_start_get, _finish_get))
    wrap(saver, "aget_tuple", arecorded(_start_get, _finish_get))
    wrap(saver, "put", recorded(_start_put, _finish_put))
    wrap(saver, "aput", arecorded(_start_put, _finish_put))
    wrap(saver, "delete_thread", recorded(_start_delete, _finish_delete))
    wrap(saver, "adelete_thread", arecorded(_start_delete, _finish_delete))
    hide(saver, OF_SAVERS)


# -- in the agent's thread ---------------------------------------------------------------------------------------


def _start_get(saver: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    settings = _settings(args, kwargs)
    named = settings.get("checkpoint_id")
    facts = _Facts(Op.READ, _resource(saver, settings), named=bool(named))
    return _begin(settings.get("thread_id"), facts)


def _finish_get(_saver: Any, call: Call, result: Any, error: BaseException | None) -> None:
    facts: _Facts = call.facts
    version = None if result is None else str(result.checkpoint["id"])
    _end(call, error, _Facts(facts.op, facts.resource, version, named=facts.named))
    if error is None:
        invokes.got(facts.resource, version, call, newest=not facts.named)


def _start_put(saver: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    settings = _settings(args, kwargs)
    checkpoint = args[1] if len(args) > 1 else kwargs["checkpoint"]
    resource = _resource(saver, settings)
    parent = settings.get("checkpoint_id") or None
    parent_call, branch = invokes.continuing(resource, parent)
    facts = _Facts(Op.WRITE, resource, str(checkpoint["id"]), parent, parent_call, branch=branch)
    return _begin(settings.get("thread_id"), facts)


def _finish_put(_saver: Any, call: Call, _result: Any, error: BaseException | None) -> None:
    facts: _Facts = call.facts
    _end(call, error, facts)
    if error is None:
        invokes.got(facts.resource, facts.version, call, newest=True)


def _start_delete(saver: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    thread = args[0] if args else kwargs["thread_id"]
    return _begin(thread, _Facts(Op.DELETE, _resource(saver, {"thread_id": thread})), DELETIONS)


def _finish_delete(_saver: Any, call: Call, _result: Any, error: BaseException | None) -> None:
    _end(call, error, call.facts)


def _begin(thread: object, facts: _Facts, count: int = 1) -> Call | None:
    call = None if is_hidden() else begin(count)
    if call is not None:
        call.scope = merged(call.scope, None, str(thread), None)
        call.site = call.site or invokes.site()
        call.facts = facts
    return call


def _end(call: Call, error: BaseException | None, facts: _Facts) -> None:
    active = recorder.active()
    if active is not None:
        call.error = error
        active.end(call, _build, facts)


def _settings(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    config = args[0] if args else kwargs["config"]
    settings: dict[str, Any] = config["configurable"]
    return settings


def _resource(saver: Any, settings: dict[str, Any]) -> str:
    place = place_of(saver)
    segments = (*((place,) if place else ()), str(settings["thread_id"]), settings.get("checkpoint_ns") or "")
    return "/".join(("langgraph://checkpoint", *(quoted(each) for each in segments if each)))


# -- in the drain ------------------------------------------------------------------------------------------------


def _build(call: Call) -> Sequence[Access]:
    facts: _Facts = call.facts
    outcome = _outcome(facts.op, call.error)
    attributes: dict[str, AttributeValue] = {Attr.VERSION_KIND: VersionKind.CHAIN}
    if type(call.error).__name__ == "CancelledError":
        attributes[Attr.CANCELLED] = True
    if facts.op is Op.READ:
        return [_read(facts, outcome, attributes)]
    if facts.op is Op.DELETE:
        attributes[Attr.VERSION_WRITTEN] = ABSENT
        names = (facts.resource, f"{facts.resource}/")
        return [Access(Op.DELETE, name, SYSTEM, outcome, attributes=dict(attributes)) for name in names]
    return [_written(facts, outcome, attributes)]


def _read(facts: _Facts, outcome: Outcome, attributes: dict[str, AttributeValue]) -> Access:
    if facts.version is not None:
        attributes[Attr.VERSION_READ] = facts.version
    elif outcome is Outcome.OK:
        outcome = Outcome.NOT_FOUND
        if not facts.named:  # that one checkpoint is missing does not say that the thread is empty
            attributes[Attr.VERSION_READ] = ABSENT
    if Attr.VERSION_READ not in attributes:
        del attributes[Attr.VERSION_KIND]
    return Access(Op.READ, facts.resource, SYSTEM, outcome, attributes=attributes)


def _written(facts: _Facts, outcome: Outcome, attributes: dict[str, AttributeValue]) -> Access:
    assert facts.version is not None
    attributes |= {
        Attr.WRITE_MODE: WriteMode.INSERT,
        Attr.VERSION_BASE: facts.parent or ABSENT,
        Attr.VERSION_BASE_SOURCE: BaseSource.EXPLICIT,
        Attr.VERSION_WRITTEN: facts.version,
    }
    if facts.parent_call is not None:
        came_from = facts.parent_call
        attributes |= {
            Attr.VERSION_BASE_STRAND: came_from.strand.id,
            Attr.VERSION_BASE_SEQ: came_from.seq,
            Attr.VERSION_BASE_END_NS: (came_from.end_ns or came_from.start_ns) + clock.OFFSET_NS,
        }
    if facts.branch is not None:
        attributes[Attr.BRANCH] = facts.branch
    return Access(Op.WRITE, facts.resource, SYSTEM, outcome, attributes=attributes)


def _outcome(op: Op, error: BaseException | None) -> Outcome:
    """How a call ended that raised: a put may have been stored, unless it was refused before it was sent."""
    if error is None:
        return Outcome.OK
    refused = op is Op.READ or isinstance(error, NotImplementedError | TypeError | ValueError | KeyError)
    return Outcome.ERROR if refused else Outcome.UNKNOWN
