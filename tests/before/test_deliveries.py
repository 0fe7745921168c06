"""Deliveries that go wrong: they bring out what is otherwise not seen, the same for the same seed, and no longer."""

import asyncio
import contextlib
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from moto_stage import aws, client

import noclobber
from noclobber.pacing import deliveries
from noclobber.pacing.chaos import Injection
from noclobber.pacing.plan import DEFAULT, Plan, PlanError, plan_of
from noclobber.settings import Settings
from noclobber_analyzer.watching import hooked, watched

SETTINGS = Settings(service="test", send=False, spool=None, cpu_budget=0.0)
TASKS = 8
Went = tuple[int, list[str], list[Injection]]
"""How many tasks were handled, the kinds that were found, and what chaos did."""


def plan(text: str) -> Plan:
    """A plan, as its file says it."""
    return plan_of(tomllib.loads(text))


@contextlib.contextmanager
def under(chosen: Plan | None) -> Iterator[tuple[list[str], list[Injection]]]:
    """Watched, and under chaos where there is a plan; kinds and injections are filled in at the end."""
    kinds: list[str] = []
    injected: list[Injection] = []
    with hooked(SETTINGS), watched(SETTINGS) as seen:
        with noclobber.chaos(plan=chosen) if chosen else contextlib.nullcontext() as chaos:
            yield kinds, injected
        kinds += sorted({str(each.kind) for each in seen.findings()})
        injected += chaos.injected if chaos else []


def through_streams(server: Any, chosen: Plan | None = None) -> Went:
    """A worker on a Redis Stream, and an heir that takes over what it has not acknowledged."""
    server.flushall()
    server.xgroup_create("tasks", "workers", mkstream=True)
    handled = 0

    def handle(entry: Any) -> None:
        nonlocal handled
        server.incr("done")
        handled += 1
        assert server.xack("tasks", "workers", entry) == 1

    with under(chosen) as (kinds, injected):
        for number in range(TASKS):
            server.xadd("tasks", {"n": number})
        for _ in range(TASKS):
            with noclobber.agent("worker"), noclobber.step("task"):
                ((_, ((entry, _),)),) = server.xreadgroup("workers", "one", {"tasks": ">"}, count=1)
                handle(entry)
        pending = True
        while pending:
            with noclobber.agent("heir"), noclobber.step("task"):
                pending = server.xautoclaim("tasks", "workers", "two", 0, count=1)[1]
                for entry, _ in pending[:TASKS]:
                    handle(entry)
            pending = pending and handled < 3 * TASKS
    return handled, kinds, injected


def test_a_lost_acknowledgement(valkey: str) -> None:
    """Redis Streams: the duplicate delivery is found with it alone; one seed loses the same ones, twice."""
    lossy = plan("seed = 3\n[[lose]]\nresource = '*/tasks*'\nchance = 0.4\n")
    with redis.Redis.from_url(valkey) as server:
        assert through_streams(server) == (TASKS, [], [])
        handled, kinds, injected = through_streams(server, lossy)
        assert through_streams(server, lossy) == (handled, kinds, injected)
        assert kinds == ["duplicate_delivery"]
        assert [each.what for each in injected] == ["lose"] * len(injected)
        assert handled > TASKS
        assert through_streams(server) == (TASKS, [], [])


def test_losses_have_an_end(valkey: str) -> None:
    """No more than the plan's limit, whatever the chance."""
    with redis.Redis.from_url(valkey) as server:
        handled, _, injected = through_streams(server, plan("holds_max = 2\n[[lose]]\nchance = 1\n"))
    assert ([each.number for each in injected], handled) == ([1, 2], TASKS + 2)


def test_asynchronous_clients_lose_too(valkey: str) -> None:
    """And the entry stays pending; no wrapper stays after the block."""
    before = vars(redis.asyncio.Redis)["execute_command"]

    async def main() -> tuple[int, Any]:
        async with redis.asyncio.Redis.from_url(valkey) as server:
            await server.flushall()
            await server.xgroup_create("tasks", "workers", mkstream=True)
            entry = await server.xadd("tasks", {"n": 1})
            await server.xreadgroup("workers", "one", {"tasks": ">"})
            answered: int = await server.xack("tasks", "workers", entry)
            return answered, (await server.xpending("tasks", "workers"))["pending"]

    with under(plan("[[lose]]\nchance = 1\n")):
        assert asyncio.run(main()) == (1, 1)
    assert vars(redis.asyncio.Redis)["execute_command"] is before
    assert deliveries._wrappings == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[lose]]\nseconds = 1", "lose 1: there is no `seconds`"),
        ("[[again]]\nchance = 2", "again 1: `chance` is a number from 0 to 1"),
        ("[[again]]\nresource = 1", "again 1: `resource` is a pattern"),
        ("lose = 1", "`lose` is a list of tables"),
    ],
)
def test_a_plan_that_says_nonsense(text: str, said: str) -> None:
    """Is refused in a sentence."""
    with pytest.raises(PlanError, match=said):
        plan(text)


def test_no_delivery_goes_wrong_unless_a_plan_says_so() -> None:
    """The default plan holds strands and no more; one with losses alone holds nobody."""
    assert (DEFAULT.lose, DEFAULT.again) == ((), ())
    assert plan("[[lose]]\n").rules == ()
    assert plan("seed = 3").rules == DEFAULT.rules


@pytest.fixture(scope="module")
def queues() -> Iterator[Any]:
    """A client of SQS."""
    with aws() as url:
        made = client("sqs", url)
        yield made
        made.close()


def through_sqs(queues: Any, server: Any, chosen: Plan | None = None) -> Went:
    """A worker at a new queue until it is empty; it writes what it has done."""
    queue = queues.create_queue(QueueName="tasks")["QueueUrl"]
    handled = 0
    with under(chosen) as (kinds, injected):
        for number in range(TASKS):
            queues.send_message(QueueUrl=queue, MessageBody=str(number))
        told: Any = True
        while told:
            with noclobber.agent("worker"), noclobber.step("task"):
                told = queues.receive_message(
                    QueueUrl=queue, MaxNumberOfMessages=1, VisibilityTimeout=60,
                    AttributeNames=["ApproximateReceiveCount"],
                ).get("Messages")  # fmt: skip
                for message in told or ():
                    server.incr("done")
                    handled += 1
                    slow = chosen is not None and handled % 2
                    if not slow:  # a slow worker has its message still in hand when it comes again
                        queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    queues.delete_queue(QueueUrl=queue)
    return handled, kinds, injected


@pytest.mark.long  # the server takes seconds to start
def test_a_message_that_comes_again(queues: Any, valkey: str) -> None:
    """SQS hands out again what a slow worker still has in hand; found with it alone, the same for one seed."""
    with redis.Redis.from_url(valkey) as server:
        assert through_sqs(queues, server) == (TASKS, [], [])
        repeating = plan("seed = 5\nholds_max = 4\n[[again]]\nsystem = 'aws_sqs'\nchance = 0.6\n")
        handled, kinds, injected = through_sqs(queues, server, repeating)
        assert ({each.what for each in injected}, kinds) == ({"again"}, ["duplicate_delivery"])
        assert handled > TASKS
        assert through_sqs(queues, server, repeating)[2] == injected


@pytest.mark.long
def test_sqs_loses_acknowledgements(queues: Any) -> None:
    """A deletion that is answered and was never made, alone and in a batch."""
    queue = queues.create_queue(QueueName="others")["QueueUrl"]
    with under(plan("[[lose]]\nresource = 'sqs://*'\nchance = 1\n")) as (_, injected):
        queues.send_message(QueueUrl=queue, MessageBody="a")
        (told,) = queues.receive_message(QueueUrl=queue, VisibilityTimeout=60)["Messages"]
        queues.delete_message(QueueUrl=queue, ReceiptHandle=told["ReceiptHandle"])
        entry = {"Id": "1", "ReceiptHandle": told["ReceiptHandle"]}
        done = queues.delete_message_batch(QueueUrl=queue, Entries=[entry])
        assert done["Successful"] == [{"Id": "1"}]
        asked = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
        assert asked["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"
    queues.delete_queue(QueueUrl=queue)
    assert [each.what for each in injected] == ["lose", "lose"]
