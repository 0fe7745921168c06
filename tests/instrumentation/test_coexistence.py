"""Another OpenTelemetry setup in the same agent exports byte for byte the same, with and without noclobber.

Each program has a setup of its own (a global provider with the stock redis instrumentation, or logfire), works on a
real server over threads, tasks, pipelines and errors, and writes what it exports to a file. Ids are numbered as they
come and times taken out; nothing else is.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spans_in_file import accesses_of

SETUP_STOCK = """
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

provider = TracerProvider(resource=Resource({"service.name": "agent"}))
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
RedisInstrumentor().instrument()
"""

SETUP_LOGFIRE = """
import logfire

logfire.configure(
    send_to_logfire=False, console=False, service_name="agent", metrics=False,
    additional_span_processors=[SimpleSpanProcessor(ToFile())],
)
logfire.instrument_redis()
from opentelemetry import trace
"""

PROGRAM = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        with open(sys.argv[1], "a") as file:
            for span in spans:
                file.write(span.to_json(indent=None) + "\\n")
        return SpanExportResult.SUCCESS

%(setup)s
import redis, redis.asyncio

tracer = trace.get_tracer("agent")
client = redis.Redis.from_url(sys.argv[2])

def work(number):
    with tracer.start_as_current_span(f"tool {number}"):
        client.set(f"k{number}", number)
        return client.get(f"k{number}")

async def tasks():
    async with redis.asyncio.Redis.from_url(sys.argv[2]) as aio:
        with tracer.start_as_current_span("async tools"):
            for name in "ab":
                await asyncio.wait_for(asyncio.create_task(aio.set(name, 1)), 5)
                await asyncio.shield(aio.incr(name))
                await asyncio.gather(aio.get(name))
            async with aio.pipeline() as pipe:
                await pipe.set("p", 1).get("p").execute()

with tracer.start_as_current_span("agent"):
    client.flushall()
    client.script_flush()
    print(work(1))
    with ThreadPoolExecutor(1) as pool:
        print(pool.submit(work, 2).result(), list(pool.map(work, [3, 4])))
    client.lpush("l", 1)
    try:
        client.get("l")
    except redis.ResponseError as error:
        print(error)
    with client.pipeline() as pipe:
        pipe.watch("k1")
        client.set("k1", "meanwhile")
        pipe.multi()
        pipe.set("k1", 2)
        try:
            pipe.execute()
        except redis.WatchError as error:
            print(error)
    with client.lock("lock", timeout=5):
        client.incr("n")
asyncio.run(tasks())
client.close()
trace.get_tracer_provider().shutdown()
print(type(trace.get_tracer_provider()).__module__)
"""


OWN_FRAME = re.compile(r'  File "[^"]*/noclobber/[^\n]*\n(    [^\n]*\n)*')


def run(tmp_path: Path, name: str, url: str, setup: str, *with_noclobber: str) -> tuple[str, str]:
    """What the program printed, and what it exported, normalised."""
    script, spans = tmp_path / "agent.py", tmp_path / f"{name}.spans"
    script.write_text(PROGRAM % {"setup": setup})
    kept = {each: value for each, value in os.environ.items() if not each.startswith(("NOCLOBBER", "OTEL", "LOGFIRE"))}
    done = subprocess.run(
        [*with_noclobber, sys.executable, str(script), str(spans), url],
        capture_output=True, text=True, timeout=60, check=False, env={**kept, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, normalised(spans.read_text())


def normalised(lines: str) -> str:
    """Ids by the order in which they come, times and durations taken out; everything else as it was."""
    ids: dict[str, str] = {}

    def numbered(identity: Any) -> Any:
        return ids.setdefault(identity, f"id {len(ids)}") if identity else identity

    out = []
    for line in lines.splitlines():
        span = json.loads(line)
        span["start_time"] = span["end_time"] = ""
        for context in (span["context"], *(link["context"] for link in span["links"])):
            context["span_id"], context["trace_id"] = numbered(context["span_id"]), numbered(context["trace_id"])
        span["parent_id"] = numbered(span["parent_id"])
        for event in span["events"]:
            event["timestamp"] = ""
            stack = event["attributes"].get("exception.stacktrace")
            if stack is not None:  # a wrapper's own frame can't be hidden; all else is the same
                event["attributes"]["exception.stacktrace"] = OWN_FRAME.sub("", stack)
        for names in (span["attributes"], span["resource"]["attributes"]):
            for name in ("thread.id", "process.pid", "service.instance.id", "logfire.pending_parent_id", "lock.token"):
                if name in names:
                    names[name] = ""
        out.append(json.dumps(span, sort_keys=True))
    return "\n".join(out)


@pytest.mark.parametrize(
    ("setup", "needs"),
    [(SETUP_STOCK, "opentelemetry.instrumentation.redis"), (SETUP_LOGFIRE, "logfire")],
    ids=["stock", "logfire"],
)
def test_another_setup_exports_the_same(tmp_path: Path, valkey: str, setup: str, needs: str) -> None:
    """What the program prints and what its exporter gets do not change by a byte; noclobber's spans go elsewhere."""
    pytest.importorskip(needs, reason=f"{needs} belongs to the extra `test`")
    out = tmp_path / "noclobber.jsonl"
    plain = run(tmp_path, "plain", valkey, setup)
    command = [sys.executable, "-m", "noclobber", "run", "--file", str(out), "--file-only", "--"]
    assert plain == run(tmp_path, "with", valkey, setup, *command)
    assert len(plain[1].splitlines()) > 20
    assert "noclobber" not in plain[1]
    accesses = accesses_of(out)
    assert {access["scope"] for access in accesses} == {"noclobber.redis"}
    assert len(accesses) > 20


def test_an_unsampled_parent_takes_nothing_away(tmp_path: Path) -> None:
    """Noclobber's own spans are never sampled: also below a parent that nobody records, with its trace id."""
    text = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
from noclobber import access
with trace.get_tracer("agent").start_as_current_span("agent") as span:
    with access("x://a", "read"): pass
    assert trace.get_current_span() is span
    print(f"{span.get_span_context().trace_id:032x}")
"""
    script = tmp_path / "agent.py"
    script.write_text(text)
    file = tmp_path / "out.jsonl"
    command = ["-m", "noclobber", "run", "--file", str(file), "--file-only", "--", sys.executable, str(script)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=True)
    (access,) = accesses_of(file)
    assert access["trace"] == done.stdout.strip()
