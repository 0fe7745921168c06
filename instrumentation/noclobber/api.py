"""What a program may say by itself: who acts, and accesses that no integration sees.

Nothing here raises because of noclobber: switched off, every call does nothing.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from noclobber import scope, versions
from noclobber.access import Access, Call
from noclobber.contract import Attr, BaseSource, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.guard import GUARD

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["ManualAccess", "access", "agent", "instrument", "run", "step", "uninstrument"]


def instrument(
    *,
    agent: str | None = None,
    endpoint: str | None = None,
    exact: Sequence[str] = (),
    span_exporter: "SpanExporter | None" = None,
    without: Sequence[str] = (),
) -> bool:
    """Switch instrumentation on in this process; whether it is on now.

    Call it before clients are made; once is enough, and twice does no harm.

    Args:
        agent: name of the agent that this process is.
        endpoint: where the collector listens; `NOCLOBBER_ENDPOINT` and OpenTelemetry's variables else.
        exact: URI patterns of resources that may be asked for what a write replaces; `"*"` is all.
        span_exporter: give spans to this exporter of OpenTelemetry's SDK instead of a collector.
        without: names of integrations to leave off.
    """
    from noclobber import recorder
    from noclobber.bootstrap.activate import activate
    from noclobber.settings import load

    with GUARD:
        settings = load()
        chosen = replace(
            settings,
            agent=agent or settings.agent,
            exact=tuple(exact) or settings.exact,
            without=settings.without | frozenset(without),
        )
        if endpoint:
            chosen = replace(chosen, endpoint=load({"NOCLOBBER_ENDPOINT": endpoint}).endpoint)
        if span_exporter is not None and not chosen.disabled:
            from noclobber.sinks import ExporterSink

            recorder.start(chosen, ExporterSink(span_exporter))
        return activate(chosen)
    return False


def uninstrument() -> None:
    """Take all hooks out again and hand over what was recorded."""
    from noclobber.bootstrap.activate import deactivate

    with GUARD:
        deactivate()


def agent(name: str) -> contextlib.AbstractContextManager[object]:
    """Act as the agent `name` inside the block; no framework overrides it."""
    return scope.entered(agent=name, explicit=True)


def run(name: str) -> contextlib.AbstractContextManager[object]:
    """Work on the run (conversation, thread, job) `name` inside the block."""
    return scope.entered(run=name)


def step(name: str) -> contextlib.AbstractContextManager[object]:
    """Be in the step (tool call, message) `name` inside the block."""
    return scope.entered(step=name)


class ManualAccess:
    """What a program tells about one access of its own.

    Versions are what the store says (`version="17"`), or are made from the content (`content=...`), of which only a
    keyed print leaves the process.
    """

    def __init__(self, resource: str, op: Op, system: str, attributes: dict[str, Any]) -> None:
        self.access = Access(op, resource, system, attributes=attributes)
        self._reads: object = None
        self._writes: object = None

    def read(self, *, version: str | int | None = None, content: object = None, kind: str = "ordered") -> None:
        """What was got."""
        self._version(Attr.VERSION_READ, Attr.CONTENT_READ, version, content, kind)

    def written(self, *, version: str | int | None = None, content: object = None, kind: str = "ordered") -> None:
        """What was made."""
        self._version(Attr.VERSION_WRITTEN, Attr.CONTENT_WRITTEN, version, content, kind)

    def overwritten(self, version: str | int) -> None:
        """What was really replaced, where the store tells."""
        self.access.attributes[Attr.VERSION_OVERWRITTEN] = str(version)

    def base(self, version: str | int) -> None:
        """What the written value was computed from."""
        self.access.attributes[Attr.VERSION_BASE] = str(version)
        self.access.attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT

    def expected(self, version: str | int) -> None:
        """What the store is asked to find, else to refuse."""
        self.access.attributes[Attr.GUARD] = Guard.VERSION
        self.access.attributes[Attr.VERSION_EXPECTED] = str(version)

    def rejected(self) -> None:
        """The guard refused it."""
        self.access.outcome = Outcome.REJECTED

    def not_found(self) -> None:
        """There was nothing."""
        self.access.outcome = Outcome.NOT_FOUND

    def _version(self, name: str, beside: str, version: str | int | None, content: object, kind: str) -> None:
        attributes = self.access.attributes
        data = None if content is None else versions.encode(content)
        if version is not None:
            attributes[Attr.VERSION_KIND] = VersionKind(kind)
            attributes[name] = str(version)
            if data is not None:
                attributes[beside] = versions.fingerprint(data)
        elif data is not None:
            attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
            attributes[name] = versions.fingerprint(data)
            if versions.is_weak(data):
                attributes[Attr.VERSION_WEAK] = True
        if data is not None:
            attributes[Attr.SIZE] = len(data)


@contextlib.contextmanager
def access(
    resource: str, op: str, *, system: str = "custom", mode: str | None = None, part: Sequence[str] = ()
) -> Iterator[ManualAccess]:
    """Record one access to state that no integration knows.

    Args:
        resource: canonical URI, the same for every process that touches it.
        op: `read`, `write`, `delete`, `update`, `send`, `receive`, `effect`, ...
        system: name of the store.
        mode: how a write changes what is there; `overwrite` where None.
        part: fields touched; the whole where empty.

    Raises:
        ValueError: `op` or `mode` is no word of the contract (a mistake in the program, seen at its first run).
    """
    from noclobber import recorder

    attributes: dict[str, Any] = {Attr.WRITE_MODE: WriteMode(mode)} if mode else {}
    told = ManualAccess(resource, Op(op), system, attributes)
    told.access.part = tuple(sorted(part))
    active = recorder.active()
    if active is None:
        yield told
        return
    call = active.begin("manual")
    try:
        yield told
    except BaseException as error:
        told.access.outcome = Outcome.ERROR
        active.fail(call, error, _told, told)
        raise
    active.end(call, _told, told)


def _told(call: Call) -> Sequence[Access]:
    made: Access = call.facts.access
    made.finds_base = made.op in (Op.WRITE, Op.DELETE)
    return (made,)
