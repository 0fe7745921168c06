"""What a request is answered with, in both protocols: OTLP's table of responses, once.

A refusal says whether the client may come again. It may where we have no room or failed ourselves: 503 with
Retry-After, and RetryInfo over gRPC, after 1 to 3 s, because the stock exporters drop what gets a 500 or a longer wait.
It must not where the request itself is wrong.

Source: OTLP specification 1.9, "OTLP/gRPC Response" and "OTLP/HTTP Response"; alerts-and-safety.md, section 7.
"""

from enum import Enum
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from noclobber_collector.errors import MalformedError, SpoolFullError
from noclobber_collector.requests import TooLargeError

__all__ = ["JSON", "PROTOBUF", "RETRY_S", "Because", "Refusal", "accepted", "in_form", "refusal_of"]

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
RETRY_S: Final = 2


class Because(Enum):
    """Why a request is refused: the HTTP status, the gRPC code, and whether the client may come again."""

    MALFORMED = (400, grpc.StatusCode.INVALID_ARGUMENT, False)
    UNKNOWN_CLIENT = (401, grpc.StatusCode.UNAUTHENTICATED, False)
    NO_SUCH_PATH = (404, grpc.StatusCode.UNIMPLEMENTED, False)
    NOT_POST = (405, grpc.StatusCode.UNIMPLEMENTED, False)
    TOO_SLOW = (408, grpc.StatusCode.DEADLINE_EXCEEDED, False)
    TOO_LARGE = (413, grpc.StatusCode.RESOURCE_EXHAUSTED, False)  # without RetryInfo: it will not fit later either
    UNKNOWN_FORM = (415, grpc.StatusCode.INVALID_ARGUMENT, False)
    LONG_HEADER = (431, grpc.StatusCode.RESOURCE_EXHAUSTED, False)
    NO_ROOM = (503, grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    BUSY = (503, grpc.StatusCode.UNAVAILABLE, True)

    def __init__(self, http: int, code: Any, again: bool) -> None:
        self.http, self.code, self.again = http, code, again


class Refusal(Exception):  # noqa: N818  it is an answer, not a failure
    """A request that is answered with a reason."""

    def __init__(self, because: Because, reason: str) -> None:
        super().__init__(reason)
        self.because, self.reason = because, reason

    def status(self) -> Status:
        """The body over HTTP, and a trailer over gRPC."""
        status = Status(code=self.because.code.value[0], message=self.reason)
        if self.because.again:
            status.details.append(_packed(RetryInfo(retry_delay=Duration(seconds=RETRY_S))))
        elif self.because is Because.MALFORMED:
            violation = BadRequest.FieldViolation(description=self.reason)
            status.details.append(_packed(BadRequest(field_violations=[violation])))
        return status


def _packed(message: Any) -> Packed:
    packed = Packed()
    packed.Pack(message)
    return packed


def refusal_of(error: Exception) -> Refusal:
    """The answer to what went wrong; what nobody expected is our failure, never the client's."""
    match error:
        case Refusal():
            return error
        case TooLargeError():
            return Refusal(Because.TOO_LARGE, str(error))
        case MalformedError():
            return Refusal(Because.MALFORMED, str(error))
        case SpoolFullError():
            return Refusal(Because.NO_ROOM, f"{error}; come again")
        case _:
            return Refusal(Because.BUSY, "the collector failed; come again")


def accepted(rejected: int) -> ExportTraceServiceResponse:
    """The answer to a request that was taken, but for `rejected` of its spans."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = (
            "spans need a trace id of 16 bytes and a span id of 8 bytes, neither all zero; these had none"
        )
    return response


def in_form(message: Any, kind: str) -> bytes:
    """A message as bytes of a content type."""
    if kind == PROTOBUF:
        data: bytes = message.SerializeToString()
        return data
    text: str = MessageToJson(message, indent=None)
    return text.encode()
