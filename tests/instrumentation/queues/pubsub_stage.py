"""Google Pub/Sub for tests: its gRPC service in this process, with the published messages; not Google's own.

Kept of the service's behaviour is what the clients rely on: a message goes to every subscription of its topic, is
leased to one subscriber at a time, comes back when its lease ends or is given up, and is gone once acknowledged.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

__all__ = ["SUBSCRIPTION", "TOPIC", "Service", "pubsub"]

TOPIC = "projects/bank/topics/orders"
SUBSCRIPTION = "projects/bank/subscriptions/counting"
LEASE_S = 60.0
ROUND_S = 0.02
BATCH_MAX = 10
_numbers = itertools.count(7_000_000_001)
"""Of messages and acknowledgement ids; those of two services differ, too."""


@dataclass(slots=True)
class _Leased:
    message: Any
    until_s: float = 0.0
    attempts: int = 0


@dataclass(slots=True)
class Service:
    """One topic and one subscription.

    Attributes:
        address: of the service. counts: whether it counts attempts, as with a dead-letter policy.
        waiting: messages by acknowledgement id.
    """

    address: str = ""
    counts: bool = False
    waiting: dict[str, _Leased] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: Any = field(default_factory=threading.Lock)

    def publish(self, request: Any, _context: Any) -> Any:
        """Names each message, and leaves it to the subscription."""
        names = []
        with self._lock:
            for message in request.messages:
                number = str(next(_numbers))
                names.append(number)
                copy = types.PubsubMessage(data=message.data, message_id=number, ordering_key=message.ordering_key)
                self.waiting[f"ack-{number}"] = _Leased(copy)
        return types.PublishResponse(message_ids=names)

    def take(self, number: int) -> list[Any]:
        """Lease out what is free."""
        with self._lock:
            free = [each for each in self.waiting.items() if each[1].until_s < time.monotonic()][:number]
            taken = []
            for ack_id, leased in free:
                leased.until_s, leased.attempts = time.monotonic() + LEASE_S, leased.attempts + 1
                attempt = leased.attempts if self.counts else 0
                taken.append(types.ReceivedMessage(ack_id=ack_id, message=leased.message, delivery_attempt=attempt))
        return taken

    def pull(self, request: Any, _context: Any) -> Any:
        """What is free now."""
        return types.PullResponse(received_messages=self.take(request.max_messages))

    def acknowledge(self, request: Any, _context: Any) -> Any:
        """Forget messages."""
        with self._lock:
            for ack_id in request.ack_ids:
                self.waiting.pop(ack_id, None)
        return empty_pb2.Empty()

    def postpone(self, request: Any, _context: Any) -> Any:
        """Give messages more time, or none."""
        self._set(request.ack_ids, request.ack_deadline_seconds)
        return empty_pb2.Empty()

    def _set(self, ack_ids: Any, seconds: int) -> None:
        with self._lock:
            for ack_id in ack_ids:
                if ack_id in self.waiting:
                    self.waiting[ack_id].until_s = time.monotonic() + seconds if seconds else 0.0

    def stream(self, requests: Any, context: Any) -> Iterator[Any]:
        """Hand out what is free, for as long as the subscriber stays."""
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        while context.is_active() and not self.ended.wait(ROUND_S):
            taken = self.take(BATCH_MAX)
            if taken:
                yield types.StreamingPullResponse(received_messages=taken)

    def _read(self, requests: Any) -> None:
        with contextlib.suppress(Exception):  # the stream ends so
            for _ in requests:
                pass


@contextlib.contextmanager
def pubsub() -> Iterator[Service]:
    """Run the service."""
    service = Service()
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((_publisher(service), _subscriber(service)))
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        service.ended.set()
        server.stop(1).wait(10)


def _unary(behaviour: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(behaviour, request.deserialize, response)


def _publisher(service: Service) -> Any:
    publish = _unary(service.publish, types.PublishRequest, types.PublishResponse.serialize)
    return grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": publish})


def _subscriber(service: Service) -> Any:
    empty = empty_pb2.Empty.SerializeToString
    handlers = {
        "Pull": _unary(service.pull, types.PullRequest, types.PullResponse.serialize),
        "Acknowledge": _unary(service.acknowledge, types.AcknowledgeRequest, empty),
        "ModifyAckDeadline": _unary(service.postpone, types.ModifyAckDeadlineRequest, empty),
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            service.stream, types.StreamingPullRequest.deserialize, types.StreamingPullResponse.serialize
        ),
    }
    return grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", handlers)
