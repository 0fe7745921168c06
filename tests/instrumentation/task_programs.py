"""Small programs of asyncio, and what each claims of the order of its accesses (capture.md 6.2).

Each program touches resources named by letters; its claims say `a<b` (a happens before b) and `a|b` (nothing orders
them). Both directions can fail: an edge too few accuses, one too many hides.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
from reachability import Claims, touch

Program = Callable[[], Awaitable[None]]
CLAIMS: Claims[Program] = Claims()
program = CLAIMS.note


async def job(name: str, before: int = 1) -> str:
    """Some turns of the loop, then an access."""
    for _ in range(before):
        await asyncio.sleep(0)
    touch(name)
    return name


async def done_without_waiting(task: "asyncio.Task[Any]") -> None:
    """Let the loop turn until a task is done, without asking for it: turning is no join."""
    for _ in range(1000):
        if task.done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never ended")


async def fails(name: str) -> None:
    await job(name)
    raise LookupError(name)


async def cancelled(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@program("a<b")
async def one_after_the_other() -> None:
    touch("a")
    touch("b")


@program("a<b b<c")
async def awaited_coroutine() -> None:
    touch("a")
    await job("b")
    touch("c")


@program("a<b a<d b<d b|c c<d")
async def task_awaited() -> None:
    touch("a")
    task = asyncio.create_task(job("b"))
    touch("c")
    await task
    touch("d")


@program("a<b b|c")
async def task_never_awaited() -> None:
    touch("a")
    task = asyncio.create_task(job("b"))
    await done_without_waiting(task)
    touch("c")


@program("b|c b<d c<d")
async def done_task_awaited_late() -> None:
    task = asyncio.create_task(job("b"))
    await done_without_waiting(task)
    touch("c")
    await task
    touch("d")


@program("b<d")
async def result_of_done_task() -> None:
    task = asyncio.create_task(job("b"))
    await done_without_waiting(task)
    assert task.result() == "b"
    touch("d")


@program("b<d")
async def exception_of_done_task() -> None:
    task = asyncio.create_task(fails("b"))
    await done_without_waiting(task)
    assert isinstance(task.exception(), LookupError)
    touch("d")


@program("b|c")
async def looked_at_by_a_callback() -> None:
    task = asyncio.create_task(job("b"))
    task.add_done_callback(lambda done: done.result())
    await done_without_waiting(task)
    await asyncio.sleep(0)
    touch("c")


@program("a<b a<c b|c b<d c<d")
async def gathered() -> None:
    touch("a")
    await asyncio.gather(job("b"), job("c"))
    touch("d")


@program("b<d c|d")
async def gathered_with_error() -> None:
    slow = asyncio.create_task(job("c", before=20))
    with contextlib.suppress(LookupError):
        await asyncio.gather(fails("b"), slow)
    touch("d")
    await done_without_waiting(slow)


@program("b<d c<d b|c")
async def gathered_with_exceptions_returned() -> None:
    await asyncio.gather(fails("b"), job("c", before=9), return_exceptions=True)
    touch("d")


@program("b<e c<e d<e b|c c|d")
async def gathered_in_gathered() -> None:
    await asyncio.gather(asyncio.gather(job("b"), job("c")), job("d"))
    touch("e")


@program("b<c")
async def gather_cancelled() -> None:
    async def inner() -> None:
        touch("b")
        await asyncio.Event().wait()

    both = asyncio.gather(inner(), inner_quiet())
    await asyncio.sleep(0)
    await cancelled(both)
    touch("c")


async def inner_quiet() -> None:
    await asyncio.Event().wait()


@program("b<d c<d b|c")
async def wait_all() -> None:
    await asyncio.wait([asyncio.create_task(job("b")), asyncio.create_task(job("c", before=5))])
    touch("d")


@program("b<d c|d")
async def wait_first_completed() -> None:
    slow = asyncio.create_task(job("c", before=20))
    await asyncio.wait([asyncio.create_task(job("b")), slow], return_when=asyncio.FIRST_COMPLETED)
    touch("d")
    await done_without_waiting(slow)


@program("b<d")
async def wait_imported_by_name() -> None:
    await WAIT_BEFORE([asyncio.create_task(job("b"))])
    touch("d")


WAIT_BEFORE = asyncio.wait


@program("a<b b|c b<d c<d")
async def task_group() -> None:
    touch("a")
    async with asyncio.TaskGroup() as group:
        group.create_task(job("b"))
        group.create_task(job("c"))
    touch("d")


@program("b<d c<d")
async def task_group_with_error() -> None:
    async def until_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            touch("c")

    with contextlib.suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(until_cancelled())
            group.create_task(fails("b"))
    touch("d")


@program("a<b b|c b<d c<d")
async def anyio_task_group() -> None:
    touch("a")
    async with anyio.create_task_group() as group:
        group.start_soon(job, "b")
        group.start_soon(job, "c")
    touch("d")


@program("a<b b<c c<d")
async def anyio_worker_threads() -> None:
    touch("a")
    await anyio.to_thread.run_sync(touch, "b")
    touch("c")
    await anyio.to_thread.run_sync(touch, "d")


@program("b<d c<e d<e")
async def as_completed() -> None:
    later = iter("de")
    for each in asyncio.as_completed([job("b"), job("c", before=9)]):
        await each
        touch(next(later))


@program("b<d c|d")
async def as_completed_first_only() -> None:
    tasks = [asyncio.create_task(job("b")), asyncio.create_task(job("c", before=20))]
    await next(iter(asyncio.as_completed(tasks)))
    touch("d")
    await done_without_waiting(tasks[1])


@program("a<b b<c")
async def wait_for_is_the_same_strand() -> None:
    touch("a")
    await asyncio.wait_for(job("b"), 5)
    touch("c")


@program("b<c")
async def wait_for_timed_out_with_finally() -> None:
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await job("b")

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(slow(), 0.001)
    touch("c")


@program("b|c b<d")
async def wait_for_of_a_task() -> None:
    task = asyncio.create_task(job("b"))
    touch("c")
    await asyncio.wait_for(task, 5)
    touch("d")


@program("b<d b|c")
async def task_made_inside_wait_for() -> None:
    async def starts() -> "asyncio.Task[str]":
        task = asyncio.create_task(job("b"))
        touch("c")
        return task

    await (await asyncio.wait_for(starts(), 5))
    touch("d")


@program("a<b b<c")
async def timeout_block() -> None:
    touch("a")
    async with asyncio.timeout(5):
        await job("b")
    touch("c")


@program("a<b b<c")
async def shield_is_the_same_strand() -> None:
    touch("a")
    await asyncio.shield(job("b"))
    touch("c")


@program("b|c b<d")
async def shield_of_a_task() -> None:
    task = asyncio.create_task(job("b"))
    touch("c")
    await asyncio.shield(task)
    touch("d")


@program("a<b b|c")
async def shield_with_timeout() -> None:
    touch("a")
    gate, done = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        touch("b")
        done.set()

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(slow()), 0.001)
    gate.set()
    touch("c")
    await done.wait()


@program("a<b a<c b|c")
async def shield_with_cancelled_waiter() -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        touch("b")
        done.set()

    async def waiter() -> None:
        touch("a")
        try:
            await asyncio.shield(slow())
        except asyncio.CancelledError:
            gate.set()
            touch("c")

    task = asyncio.create_task(waiter())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await task
    await done.wait()


@program("b<c")
async def cancelled_and_awaited() -> None:
    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            touch("b")

    task = asyncio.create_task(inner())
    await asyncio.sleep(0)
    await cancelled(task)
    touch("c")


@program("b|c")
async def cancelled_and_left() -> None:
    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await job("b")

    task = asyncio.create_task(inner())
    await asyncio.sleep(0)
    task.cancel()
    await done_without_waiting(task)
    touch("c")


@program("b|c")
async def shared_context() -> None:
    import contextvars

    context = contextvars.copy_context()
    both = [asyncio.create_task(job(name), context=context) for name in "bc"]
    await asyncio.wait(both)


@program("a<b b<c c<d")
async def async_generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        touch("a")
        await asyncio.sleep(0)
        yield 1
        touch("c")

    async for _ in numbers():
        touch("b")
    touch("d")


@program("a<b b<c")
async def two_generations() -> None:
    touch("a")

    async def middle() -> None:
        await asyncio.create_task(job("b"))

    await asyncio.create_task(middle())
    touch("c")


@program("a<c b|c")
async def silent_parent() -> None:
    touch("a")
    gate = asyncio.Event()

    async def child() -> None:
        await gate.wait()
        touch("c")

    async def parent() -> "asyncio.Task[None]":
        await asyncio.sleep(0)
        return asyncio.create_task(child())

    task = asyncio.create_task(parent())
    touch("b")
    grandchild = await task
    gate.set()
    await grandchild


@program("a<b b<c")
async def to_thread() -> None:
    touch("a")
    await asyncio.to_thread(touch, "b")
    touch("c")


@program("a<b b|c b<d")
async def run_in_executor() -> None:
    touch("a")
    with ThreadPoolExecutor() as pool:
        future = asyncio.get_running_loop().run_in_executor(pool, touch, "b")
        touch("c")
        await future
    touch("d")


@program("b<d c<d b|c")
async def executors_job_gathered() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor() as pool:
        await asyncio.gather(loop.run_in_executor(pool, touch, "b"), loop.run_in_executor(pool, touch, "c"))
        touch("d")


@program("a<b b<c")
async def coroutine_from_another_thread() -> None:
    loop = asyncio.get_running_loop()

    def worker() -> None:
        touch("a")
        asyncio.run_coroutine_threadsafe(job("b"), loop).result(5)
        touch("c")

    await asyncio.to_thread(worker)


@program("b|c a|b")
async def bare_callbacks() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    touch("a")
    loop.call_soon(touch, "b")
    loop.call_soon(touch, "c")
    loop.call_soon(done.set)
    await done.wait()
