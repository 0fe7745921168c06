"""The bytes that go out: one message for a transition and an endpoint, the same at every attempt.

Its content is the issue with its newest finding as the transition's row keeps it, cut to 20 kB, in the route's format
(`formats`). Its id is a hash of transition and endpoint, so a step or an attempt that is
repeated after a crash is the same message to its receiver.
"""

import hashlib
from dataclasses import dataclass

from noclobber_analyzer.alerts.formats import Told, dressed
from noclobber_analyzer.alerts.routes import Route
from noclobber_analyzer.issue_view import fitted
from noclobber_analyzer.issues import NOTIFYING, Event, Transition

__all__ = ["BODY_BYTES_MAX", "Message", "message_about", "message_for", "message_id"]

BODY_BYTES_MAX = 20_000
"""Greatest length of a body (contract 3); the frame around `data` included."""
FRAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What one endpoint is to get for one transition.

    Attributes:
        id: `webhook-id`, also the deliveries' id.
        transition: the row's id. at_ns: its time.
        body: in the route's format.
    """

    id: str
    transition: str
    at_ns: int
    body: bytes


def message_id(transition: str, endpoint: str) -> str:
    """`msg_` and 128 bits, fixed for all attempts."""
    return "msg_" + hashlib.blake2b(f"{transition}\0{endpoint}".encode(), digest_size=16).hexdigest()


def message_for(row: Transition, route: Route) -> Message:
    """The message that tells a route of a transition, in the route's format."""
    data = row.content.get("data")
    return message_about(row, data if isinstance(data, dict) else {}, route)


def message_about(row: Transition, data: dict[str, object], route: Route) -> Message:
    """The message that a row gives rise to, with an issue of the caller's; what is no event of an issue opens one."""
    event = row.kind if row.kind in (*NOTIFYING, Event.ACKNOWLEDGED) else Event.OPENED
    shown = fitted(data, BODY_BYTES_MAX - FRAME_BYTES)
    told = Told(message_id(row.id, route.name), str(event), row.at_ns, shown)
    return Message(told.id, row.id, row.at_ns, dressed(route, told))
