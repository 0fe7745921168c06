"""Spans after the contract, as one busy service sends them: about 800 bytes, 21 attributes, no two alike."""

import random
from collections.abc import Sequence
from typing import Any

from made import PROCESS, START_NS, attributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["contract_requests"]

ATTRIBUTES = 21
STRANDS = 200


def contract_requests(requests: int, spans: int, *, keys: int = 5_000, seed: int = 5) -> list[bytes]:
    """So many requests of so many spans each: writes with a base, by 200 strands, on `keys` resources."""
    rng = random.Random(seed)
    return [_request(rng, range(first * spans + 1, (first + 1) * spans + 1), keys) for first in range(requests)]


def _request(rng: random.Random, numbers: Sequence[int], keys: int) -> bytes:
    made = ExportTraceServiceRequest()
    of_resource = made.resource_spans.add()
    attributes(of_resource.resource.attributes, PROCESS)
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = "noclobber.redis", "0.1"
    for number in numbers:
        _fill(of_scope.spans.add(), number, rng, keys)
    return made.SerializeToString()


def _fill(span: Any, number: int, rng: random.Random, keys: int) -> None:
    span.trace_id, span.span_id, span.parent_span_id = rng.randbytes(16), rng.randbytes(8), rng.randbytes(8)
    span.name, span.kind = "write redis", 1
    span.start_time_unix_nano = START_NS + number * 200_000 + rng.randrange(100_000)
    span.end_time_unix_nano = span.start_time_unix_nano + rng.randrange(100_000, 2_000_000)
    strand = rng.randrange(STRANDS)
    said = {
        "noclobber.op": "write",
        "noclobber.resource": f"redis://127.0.0.1:6379/0/acct:{rng.randrange(keys)}",
        "noclobber.system": "redis",
        "noclobber.outcome": "ok",
        "noclobber.agent": f"agent-{strand % 20}",
        "noclobber.strand": f"{strand:016x}",
        "noclobber.run": f"run-{strand}-{number // 2_000:06d}",
        "noclobber.step": f"step-{number // 20:08x}",
        "noclobber.seq": number,
        "noclobber.unit": f"step-{number // 20:08x}",
        "noclobber.unit.kind": "step",
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.base": rng.randbytes(8).hex(),
        "noclobber.version.base.source": "observed",
        "noclobber.version.written": rng.randbytes(8).hex(),
        "noclobber.guard": "none",
        "noclobber.size": rng.randrange(10, 5_000),
        "noclobber.write.mode": "overwrite",
        "code.function.name": "withdraw",
        "code.file.path": "/srv/bank/agents/withdraw.py",
        "code.line.number": 31,
    }
    assert len(said) == ATTRIBUTES
    attributes(span.attributes, said)
