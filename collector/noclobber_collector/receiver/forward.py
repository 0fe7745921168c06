"""Passes every span on to another OTLP endpoint, so that noclobber can stand in front of a backend that exists.

What is passed on is read from the spool, after it was acknowledged: an endpoint that is slow, down or wrong delays
neither clients nor the loader. What waits lies on disk (`backlog`), up to a limit. Requests go on as they came, several
in one where they are small, and are tried again by OTLP's rules for as long as that takes. A request that the other end
will never take is counted and passed over; where several went together, it is found by halves, so that no other is lost
with it. One that is too large for the other end goes there in halves.

A segment that was passed on in part when the process ended is passed on again from its begin: as everywhere in OTLP,
a span may arrive twice; and none is left out, however soon the loader is done with its file, but what is counted as
dropped.

Source: OTLP specification 1.9, "Failures", "Multi-Destination Exporting".
"""

import logging
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber_collector.receiver.backlog import Backlog
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.outlets import Answer, Endpoint, Verdict, outlet
from noclobber_collector.requests import count_spans, halves
from noclobber_collector.segments import Segment, bare_requests

__all__ = ["ForwardSettings", "Forwarder"]

log = logging.getLogger("noclobber.forward")
POLL_S: Final = 0.25
BATCH_BYTES: Final = 512 << 10
"""Requests are put together up to this; gRPC servers take 4 MiB unless told otherwise."""
HALVED_MIN: Final = 16 << 10
"""No smaller request is sent in halves: who refuses it for its size would refuse every span, one by one."""
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
ASKED_MAX_S: Final = 300.0
"""No longer pause than this, whatever the other end asks for."""
SAY_EVERY_S: Final = 60.0
STOP_S: Final = 3.0
"""So long an end waits for a request that is under way; it is sent again by the next start."""


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """Where spans go on to, and how many bytes may wait for it."""

    endpoint: Endpoint
    bytes_max: int = 1 << 30


class Forwarder:
    """Passes the spool on, on a thread of its own.

    Args:
        spool: the spool's folder.
        settings: where to.
        counts: gets what was passed on, refused, dropped.
        pause_first_s: the first pause after a failure; it doubles.

    Attributes:
        keep: for the spool, to be told of each segment before it is closed.

    Raises:
        ValueError: the endpoint can't be understood.
    """

    def __init__(
        self, spool: Path, settings: ForwardSettings, counts: Counts, pause_first_s: float = PAUSE_FIRST_S
    ) -> None:
        self._outlet = outlet(settings.endpoint)
        self._backlog = Backlog(spool, settings.bytes_max)
        self._counts, self._pause_first_s = counts, pause_first_s
        self._where = settings.endpoint.url.partition("?")[0]  # a query may hold a key
        self._ending = threading.Event()
        self._failures = 0
        self._said: dict[str, float] = {}
        self.keep = self._backlog.keep
        self._gather()
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is passed on by the next start."""
        self._ending.set()
        self._thread.join(STOP_S)
        self._gather()
        if not self._thread.is_alive():
            self._outlet.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._turn()
            except Exception as error:
                self._say("failed", "%s: passing spans on failed, and is tried again", error)
                self._pause(PAUSE_MAX_S)
            self._ending.wait(POLL_S)

    def _turn(self) -> None:
        self._gather()
        for segment in self._backlog.waiting():
            if self._ending.is_set() or not self._pass_on(segment):
                return
            self._gather()

    def _gather(self) -> None:
        dropped = self._backlog.gather()
        if dropped:
            self._counts.add("forward_dropped_spans", dropped)
            self._say("dropped", "more waits for %s than may: the oldest spans are not passed on", self._where)
        self._counts.put("forward_bytes", self._backlog.bytes)

    def _pass_on(self, segment: Segment) -> bool:
        """Send a segment's requests; False: we are ending, or it was dropped meanwhile."""
        try:
            data = segment.path.read_bytes()
        except FileNotFoundError:
            return True
        refused = self._send_each(_batches(bare_requests(data, segment.number)), segment)
        if refused is None:
            return False
        self._counts.add("forward_refused_spans", refused)
        self._counts.add("forwarded_spans", max(0, segment.spans - refused))
        self._backlog.done(segment)
        return True

    def _send(self, batch: Sequence[bytes], segment: Segment) -> int | None:
        """Send requests as one until they are taken; how many spans never will be. None: not now."""
        while True:
            answer = self._outlet.send(b"".join(batch))
            match answer.verdict:
                case Verdict.SENT:
                    self._failures = 0
                    return answer.rejected
                case Verdict.AGAIN:
                    self._counts.add("forward_retries")
                    self._say("again", "%s takes no spans now (%s): they wait", self._where, answer.reason)
                    self._pause(self._pause_s(answer))
                    if self._ending.is_set() or not segment.path.exists():
                        return None
                case Verdict.NEVER | Verdict.TOO_LARGE if len(batch) > 1:
                    half = len(batch) // 2
                    return self._send_each((batch[:half], batch[half:]), segment)
                case Verdict.TOO_LARGE if len(batch[0]) > HALVED_MIN and (parts := halves(batch[0])):
                    return self._send_each([[part] for part in parts], segment)
                case _:
                    self._say("refused", "%s refuses spans for good (%s)", self._where, answer.reason)
                    return sum(map(count_spans, batch))

    def _send_each(self, batches: Iterable[Sequence[bytes]], segment: Segment) -> int | None:
        """The same for some batches, one after the other."""
        refused = 0
        for batch in batches:
            found = self._send(batch, segment)
            if found is None:
                return None
            refused += found
        return refused

    def _pause_s(self, answer: Answer) -> float:
        """As long as asked for, else twice as long each time, with a share of chance."""
        self._failures += 1
        if answer.after_s is not None:
            return min(answer.after_s, ASKED_MAX_S)
        longest = min(PAUSE_MAX_S, self._pause_first_s * 2.0 ** min(self._failures - 1, 16))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  not a secret

    def _pause(self, seconds: float) -> None:
        """Wait, and go on linking what the loader would remove meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._ending.wait(min(left, POLL_S)):
            self._gather()

    def _say(self, what: str, message: str, *words: object) -> None:
        """Write a line, of one sort once a minute."""
        now = time.monotonic()
        if now - self._said.get(what, -SAY_EVERY_S) >= SAY_EVERY_S:
            self._said[what] = now
            log.warning(message, *words)


def _batches(requests: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Requests in order, together up to a size: protobuf of two messages, one after the other, is both in one."""
    batch: list[bytes] = []
    size = 0
    for request in requests:
        if batch and size + len(request) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += len(request)
    if batch:
        yield batch
