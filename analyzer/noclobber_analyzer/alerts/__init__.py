"""How a finding leaves the house: routes, signed messages, retries from the log, and a guard against inner addresses.

`routes` says who wants what, `message` makes the bytes, `outbox` reads from the log what is still to be sent,
`schedule` when, `addresses` and `post` make one attempt, `sender` runs one lane for each endpoint.
"""

from noclobber_analyzer.alerts.routes import Route, RouteError
from noclobber_analyzer.alerts.sender import Sender

__all__ = ["Route", "RouteError", "Sender"]
