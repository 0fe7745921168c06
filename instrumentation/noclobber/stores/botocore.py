"""botocore, and so boto3: every call of every AWS service passes one method; what it means is said by the service.

`BaseClient._make_api_call` is wrapped, so clients, resources and paginators that exist already are seen too. A service
that is in the table notes what it needs of the parameters at the call, since callers may change them, and turns it
with the reply into accesses in the drain. Nothing is added to a request; credentials, signatures and headers are
made below this method and never seen here. Exact mode alone, which is asked for, adds to a DynamoDB write that it wants
back what it replaces; the caller gets the reply without it.

A call is a whole with the retries that botocore makes inside it. A guard that refuses a *repeated* request may have
been met by the first one, whose answer was lost: such a refusal is `unknown`, not `rejected`.

Source: botocore/client.py; capture.md section 2.
"""

import fnmatch
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Outcome
from noclobber.guard import GUARD
from noclobber.queues import eventbridge, sqs
from noclobber.stores import dynamodb, s3
from noclobber.stores.aws_call import Asked, Noted
from noclobber.stores.wrapping import Wrapping

__all__ = ["INTEGRATION", "Begun", "begin", "end", "exactly", "is_denied"]

LIBRARY: Final = "botocore"
SERVICES: Final[dict[str, Callable[[Asked], Noted | None]]] = {
    "s3": s3.note,
    "dynamodb": dynamodb.note,
    "sqs": sqs.note,
    "events": eventbridge.note,
}
"""Service -> what notes one of its calls; None where that touches no shared state."""
REFUSED: Final = frozenset(
    {"PreconditionFailed", "412", "ConditionalRequestConflict", "ConditionalCheckFailedException"}
)
NOT_THERE: Final = frozenset({"NoSuchKey", "404"})
NEVER_SENT: Final = frozenset(
    {
        "ParamValidationError",
        "EndpointResolutionError",
        "NoCredentialsError",
        "NoRegionError",
        "PartialCredentialsError",
    }
)

_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap the method that makes every call."""
    _wrapping.wrap([(library.BaseClient, "_make_api_call", _calling)])


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


Begun = tuple[Call | None, Noted]
"""A call under way; None in the place of one that takes its numbers when it returns."""


def begin(library: str, client: Any, operation: str, params: Any) -> Begun | None:
    """Note a call of `library`'s client; None where it touches no shared state."""
    with GUARD:
        active = recorder.recording()
        service = SERVICES.get(client.meta.service_model.service_name)
        if active is None or service is None:
            return None
        noted = service(Asked(operation, params, client.meta.region_name or ""))
        if noted is not None and noted.late:
            noted.started_ns = recorder.now_ns()
            return None, noted
        if noted is not None:
            return active.begin(library, noted.count), noted
    return None


def end(library: str, begun: Begun, reply: Any, error: BaseException | None) -> None:
    """Note how it ended."""
    with GUARD:
        active = recorder.active()
        if active is None:
            return
        call, noted = begun
        noted.reply = noted.keep(reply) if error is None else None
        if call is None:
            messages = (noted.reply or {}).get("messages")
            if not messages:
                return
            call = active.begin(library, len(messages))
            call.start_ns = noted.started_ns
        call.error = error
        active.end(call, _build, noted)


def _calling(original: Any) -> Any:
    def make_api_call(self: Any, operation_name: Any, api_params: Any) -> Any:
        begun = begin(LIBRARY, self, operation_name, api_params)
        if begun is None:
            return original(self, operation_name, api_params)
        try:
            reply = _asking(original, self, operation_name, api_params, begun[1])
        except BaseException as error:
            end(LIBRARY, begun, None, error)
            raise
        end(LIBRARY, begun, reply, None)
        return dynamodb.plain(reply) if begun[1].exact else reply

    return make_api_call


def _asking(original: Any, client: Any, operation: Any, params: Any, noted: Noted) -> Any:
    """Make the call: in its exact form where that is wanted, and plainly after all where that is not allowed."""
    exact = exactly(client, operation, params)
    if exact is not None:
        try:
            reply = original(client, operation, exact)
            noted.exact = True
            return reply
        except Exception as error:
            if not is_denied(error):
                raise
    return original(client, operation, params)


def exactly(client: Any, operation: str, params: Any) -> dict[str, Any] | None:
    """The parameters of a call in its exact form, where that is wanted."""
    with GUARD:
        return _exactly(client, operation, params)
    return None


def is_denied(error: BaseException) -> bool:
    """Whether the exact form was refused before anything was done."""
    return _code(error) == "AccessDeniedException"


def _exactly(client: Any, operation: str, params: Any) -> dict[str, Any] | None:
    active = recorder.active()
    if active is None or client.meta.service_model.service_name != "dynamodb":
        return None
    patterns = active.settings.exact
    if not (patterns or active.declarations.declared):
        return None
    asked = Asked(operation, params, client.meta.region_name or "")
    place = dynamodb.place(asked)
    wanted = any(fnmatch.fnmatchcase(place, each) for each in patterns) or active.declarations.wants_exact(place)
    return dynamodb.exact(asked) if wanted else None


def _code(error: BaseException) -> str:
    reply = getattr(error, "response", None)
    return str(reply.get("Error", {}).get("Code")) if isinstance(reply, dict) else ""


def _build(call: Call) -> Sequence[Access]:
    noted: Noted = call.facts
    noted.failed = _outcome(call.error)
    refusal = getattr(call.error, "response", None)
    noted.refusal = refusal if isinstance(refusal, dict) else {}
    accesses = noted.describe(noted)
    for access in accesses:
        access.attributes["db.operation.name"] = noted.operation
    return accesses


def _outcome(error: BaseException | None) -> Outcome | None:
    """How a call ended that raised."""
    if error is None:
        return None
    reply = getattr(error, "response", None)
    if not isinstance(reply, dict):
        return Outcome.ERROR if type(error).__name__ in NEVER_SENT else Outcome.UNKNOWN
    code, about = _code(error), reply.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 500)
    repeated = about.get("RetryAttempts", 0) > 0
    if status == 304:
        return Outcome.OK  # as before
    if code in REFUSED:
        return Outcome.UNKNOWN if repeated else Outcome.REJECTED
    if code in NOT_THERE:
        return Outcome.NOT_FOUND
    return Outcome.UNKNOWN if status >= 500 or repeated else Outcome.ERROR


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
