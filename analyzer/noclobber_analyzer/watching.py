"""One test, watched: what the running process does to shared state meanwhile, and what the evaluator says of it.

Each test counts as a process of its own: other strands, and nothing remembered of what earlier tests read, so no test
is accused of another's state. Nothing leaves the process and no thread is started; what was noted waits in the ring
until it is asked for.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

from noclobber import recorder, strands, versions
from noclobber.access import AttributeValue
from noclobber.otlp import Span, request_bytes
from noclobber.settings import Settings
from noclobber.testing import KEY
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.otlp_protobuf import groups_of_protobuf

__all__ = ["Watched", "hooked", "watched"]

RING_MAX = 1 << 18
"""Calls that one test may make before it is asked what it did; more are dropped, and the verdict says so."""


class Watched(recorder.Sink):
    """What one test did.

    Attributes:
        recorder: what records it.
    """

    def __init__(self, settings: Settings) -> None:
        self._spans: list[Span] = []
        self._count = 0
        self._resource: dict[str, AttributeValue] = {}
        self.recorder = recorder.Recorder(settings, self)

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:
        """Keep them."""
        self._resource = dict(resource)
        self._spans += spans
        self._count += accesses
        return True

    @property
    def accesses(self) -> int:
        """How many accesses there were so far."""
        self._noted()
        return self._count

    @property
    def spans(self) -> Sequence[Span]:
        """What was recorded so far, marks included."""
        return self._noted()

    def findings(self, *, latent: bool = False) -> list[Finding]:
        """What races there were so far."""
        return self.evaluation(latent=latent).findings

    def evaluation(self, *, latent: bool = False) -> Evaluation:
        """What the evaluator makes of it so far."""
        spans = self._noted()
        if not self._count:
            return Evaluation()
        builder = HistoryBuilder(self.recorder.declarations)
        for group in groups_of_protobuf(request_bytes(self._resource, spans)):
            builder.add_group(group)
        return evaluate(builder.finish(ended=True), latent=latent, declarations=self.recorder.declarations)

    def _noted(self) -> list[Span]:
        if self.recorder._ring or not self._spans:
            self.recorder.flush()
        return self._spans


@contextlib.contextmanager
def hooked(settings: Settings) -> Iterator[None]:
    """Hooks in the libraries, now or as they are imported; they do nothing but between `watched`."""
    from noclobber import tasks, threads
    from noclobber.bootstrap import registry

    had, was_hooked = registry.installed(), bool(threads.installed())
    # Libraries are hooked only while something records; what is done between tests is not kept.
    before = recorder.swap(recorder.Recorder(replace(settings, ring_max=0), Watched(settings)))
    key = versions.use_key(KEY)
    threads.install()
    tasks.install()
    registry.install(settings)
    try:
        yield
    finally:
        if not was_hooked:
            registry.uninstall(keep=had)
            tasks.uninstall()
            threads.uninstall()
        versions.use_key(key)
        recorder.swap(before)


@contextlib.contextmanager
def watched(settings: Settings) -> Iterator[Watched]:
    """Watch this process inside the block, whose libraries are `hooked`."""
    process = strands.begin_process(secrets.token_hex(8))
    sink = Watched(settings)
    before = recorder.swap(sink.recorder)
    try:
        yield sink
    finally:
        recorder.swap(before)
        strands.go_on_as(process)
