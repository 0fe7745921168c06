"""For tests: what would have been sent, in memory, with ids and times that are the same in every run.

    >>> from noclobber import access
    >>> with capture(agent="planner") as captured:
    ...     with access("custom://counter", "read") as a:
    ...         a.read(version=7)
    ...     with access("custom://counter", "write") as a:
    ...         a.written(version=8)
    >>> [(each["noclobber.op"], each["noclobber.seq"]) for each in captured.accesses]
    [('read', 1), ('write', 2)]
    >>> captured.accesses[1]["noclobber.version.base"]
    '7'

Inside the block everything is instrumented, as far as its libraries are imported or will be; nothing is sent. What was
switched on before is on again afterwards. The clock starts at 2026-01-01 00:00 UTC and goes on by one millisecond each
time that it is read, ids are counted from 1, the process is called `test`; with `fixed=False` clock and ids are real.
"""

import contextlib
import itertools
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber import clock, declarations, recorder, scope, strands, tasks, threads, versions
from noclobber.access import AttributeValue
from noclobber.bootstrap import registry
from noclobber.contract import Attr, Op
from noclobber.guard import GUARD
from noclobber.otlp import Span
from noclobber.settings import Settings

__all__ = ["KEY", "Captured", "capture"]

START_NS: Final = 1_767_225_600_000_000_000
STEP_NS: Final = 1_000_000
KEY: Final = b"noclobber tests: a public key..."
"""The fingerprint key inside `capture`, 32 bytes."""


class _Memory(recorder.Sink):
    """Keeps everything."""

    def __init__(self) -> None:
        self.exports: list[list[Span]] = []
        self.resource: dict[str, AttributeValue] = {}

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:  # noqa: ARG002
        self.resource = dict(resource)
        self.exports.append(list(spans))
        return True


@dataclass
class Captured:
    """What was captured so far; asking waits until all that has ended is in."""

    recorder: recorder.Recorder
    _sink: _Memory = field(repr=False)

    @property
    def exports(self) -> list[list[Span]]:
        """Spans by export, in the order in which they would have been sent, marks included."""
        if recorder.active() is self.recorder:
            self.recorder.flush()
        return self._sink.exports

    @property
    def spans(self) -> list[Span]:
        """All spans but marks, each once: of a call that was sent open, what was sent at last."""
        found = {span.span_id: span for export in self.exports for span in export}
        return [span for span in found.values() if span.attributes[Attr.OP] != Op.MARK]

    @property
    def accesses(self) -> list[dict[str, Any]]:
        """The spans' attributes, as plain values."""
        return [_plain(span) for span in self.spans]

    @property
    def marks(self) -> list[dict[str, Any]]:
        """The marks' attributes, in their order."""
        found = [span for export in self.exports for span in export if span.attributes[Attr.OP] == Op.MARK]
        return [_plain(span) for span in found]

    @property
    def resource(self) -> dict[str, AttributeValue]:
        """The resource attributes of the last export."""
        return self._sink.resource


def _plain(span: Span) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else value
        for name, value in span.attributes.items()
    }


class _Clock:
    """Goes on by one step each time that it is read."""

    def __init__(self) -> None:
        self._ticks = itertools.count(START_NS, STEP_NS)

    def __call__(self) -> int:
        return next(self._ticks)


class _Counting(random.Random):
    """Ids from 1."""

    def __init__(self) -> None:
        super().__init__(0)
        self._ids = itertools.count(1)

    def getrandbits(self, k: int, /) -> int:  # noqa: ARG002
        return next(self._ids)


@contextlib.contextmanager
def capture(
    *, fixed: bool = True, now_ns: Callable[[], int] | None = None, background: bool = False, **settings: Any
) -> Iterator[Captured]:
    """Instrument this process, and keep what it would send.

    Args:
        fixed: the same ids and times in every run.
        now_ns: the clock, where it should go on in another way.
        background: drain on a thread, as in life; else in the caller's, whenever something is asked for.
        settings: attributes of `noclobber.settings.Settings`, such as `agent`, `exact`, `tables`.
    """
    chosen = Settings(**{"service": "test", "send": False, "spool": None, **settings})
    sink = _Memory()
    with contextlib.ExitStack() as stack:
        declared = declarations.reset()
        stack.callback(lambda: declarations.reset(declared))
        stack.enter_context(_reraising())
        stack.enter_context(_fixed(now_ns or _Clock()) if fixed else _afresh())
        mine = recorder.Recorder(chosen, sink, ids=_Counting() if fixed else None)
        before = recorder.swap(mine)
        stack.callback(lambda: recorder.swap(before))
        stack.enter_context(_hooked(chosen))
        if background:
            mine.run()
        try:
            yield Captured(mine, sink)
        finally:
            recorder.swap(None)
            mine.shutdown(chosen.shutdown_timeout_s)


@contextlib.contextmanager
def _reraising() -> Iterator[None]:
    """A mistake of the instrumentation fails the test."""
    before, GUARD.reraises = GUARD.reraises, True
    try:
        yield
    finally:
        GUARD.reraises = before


@contextlib.contextmanager
def _fixed(now_ns: Callable[[], int]) -> Iterator[None]:
    process, key, now, offset = strands.begin_process("test"), versions.use_key(KEY), recorder.now_ns, clock.OFFSET_NS
    scope.count_units_from(1)
    recorder.now_ns, clock.OFFSET_NS = now_ns, 0
    try:
        yield
    finally:
        strands.go_on_as(process)
        versions.use_key(key)
        recorder.now_ns, clock.OFFSET_NS = now, offset


@contextlib.contextmanager
def _afresh() -> Iterator[None]:
    """A process of its own, so that what its strands did before is not missing in what is kept."""
    process = strands.begin_process(secrets.token_hex(8))
    try:
        yield
    finally:
        strands.go_on_as(process)


@contextlib.contextmanager
def _hooked(settings: Settings) -> Iterator[None]:
    """All hooks in; out again those that were not there."""
    had, hooked = registry.installed(), bool(threads.installed())
    threads.install()
    tasks.install()
    registry.install(settings)
    try:
        yield
    finally:
        if not hooked:
            registry.uninstall(keep=had)
            tasks.uninstall()
            threads.uninstall()
