"""What a program may say by itself: who acts, and accesses that no integration sees.

Nothing here raises because of noclobber: switched off, every call does nothing. Guards that somebody asks for do.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from noclobber import scope, strands, versions
from noclobber.access import Access, AttributeValue, Call
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
    enforce: Sequence[str] = (),
    through: str | None = None,
) -> bool:
    """Switch instrumentation on in this process; whether it is on now.

    Call it before clients are made; once is enough, and twice does no harm.

    Args:
        agent: name of the agent that this process is.
        endpoint: where the collector listens; `NOCLOBBER_ENDPOINT` and OpenTelemetry's variables else.
        exact: URI patterns of resources that may be asked for what a write replaces; `"*"` is all.
        span_exporter: give spans to this exporter of OpenTelemetry's SDK instead of a collector.
        without: names of integrations to leave off.
        enforce: URI patterns of resources whose writes become conditional ones, for the whole process, as inside
            `noclobber.guarded`; nothing where empty, which is how it should start.
        through: for SQL in `enforce`: `"sqlalchemy"`, as for `noclobber.guarded`.

    Raises:
        Unguardable: `enforce` names what can't be guarded. Nothing else raises.
    """
    if enforce:
        from noclobber.guarding.blocks import enforce as switch_on

        switch_on(enforce, through)
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
    import sys

    from noclobber.bootstrap.activate import deactivate

    with GUARD:
        if "noclobber.guarding.blocks" in sys.modules:
            sys.modules["noclobber.guarding.blocks"].enforce(())
        deactivate()


def agent(name: str) -> contextlib.AbstractContextManager[object]:
    """Act as the agent `name` inside the block; no framework overrides it."""
    return scope.entered(agent=name, explicit=True)


def run(name: str) -> contextlib.AbstractContextManager[object]:
    """Work on the run (conversation, thread, job) `name` inside the block."""
    return scope.entered(run=name)


def step(name: str) -> contextlib.AbstractContextManager[object]:
    """Be in a step (one tool call, one message) inside the block; each block is a step of its own.

    Args:
        name: what people call it; the step's id is this and a number, since one tool is called many times.
    """
    return scope.entered(step=f"{name}-{strands.process_id()[:8]}.{next(_steps)}")


_steps = itertools.count(1)


class ManualAccess:
    """What a program tells about one access of its own.

    Versions are what the store says (`version=17`), or are made from the content (`content=...`), of which only a keyed
    print leaves the process.
    """

    def __init__(self, resource: str, op: Op, system: str, attributes: dict[str, Any]) -> None:
        self.access = Access(op, resource, system, attributes=attributes)

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

    def no_effect(self) -> None:
        """It applied to nothing."""
        self.access.outcome = Outcome.NO_EFFECT

    def not_found(self, kind: str = "ordered") -> None:
        """There was nothing."""
        self.access.outcome = Outcome.NOT_FOUND
        chosen = VersionKind(str(self.access.attributes.setdefault(Attr.VERSION_KIND, VersionKind(kind))))
        self.access.attributes[Attr.VERSION_READ] = chosen.absent

    def tell(self, **attributes: AttributeValue) -> None:
        """Further attributes by the contract's names: `tell(message_id="7", message_group="workers")`.

        Raises:
            ValueError: the contract has no such attribute.
        """
        for name, value in attributes.items():
            known = getattr(Attr, name.upper(), None)
            if known is None:
                raise ValueError(f"the contract has no attribute noclobber.{name.replace('_', '.')}")
            self.access.attributes[known] = value

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
            if versions.is_numeric(data):
                attributes[Attr.CONTENT_NUMERIC] = True


@contextlib.contextmanager
def access(
    resource: str, op: str, *, system: str = "custom", mode: str | None = None, part: Sequence[str] = ()
) -> Iterator[ManualAccess]:
    """Record one access to state that no integration knows.

    A block that raises is a write of unknown outcome: how far it came can't be known from outside. One that was
    `rejected()`, or had `no_effect()`, before it raised is just that.

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
    told.access.finds_base = told.access.op in (Op.WRITE, Op.DELETE)
    call = recorder.begin("manual")
    if call is None:
        yield told
        return
    try:
        yield told
    except BaseException as error:
        _interrupted(told.access, error)
        recorder.end(call, _told, told, error)
        raise
    recorder.end(call, _told, told)


def _interrupted(told: Access, error: BaseException) -> None:
    if told.outcome is Outcome.OK:
        told.outcome = Outcome.ERROR if told.op in (Op.READ, Op.SCAN) else Outcome.UNKNOWN
    if isinstance(error, asyncio.CancelledError):
        told.attributes[Attr.CANCELLED] = True


def _told(call: Call) -> Sequence[Access]:
    made: Access = call.facts.access
    return (made,)
