"""A thread or a task that a recorded call has started: what it does is part of that call, and told once."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from noclobber.frameworks.hidden import hiding

__all__ = ["in_its_task", "in_its_thread"]

TIMEOUT_S = 20


def in_its_thread(do: Callable[[], Any]) -> Any:
    """What `do` returns, in a thread that a recorded call started and waits for."""
    answers: list[Any] = []
    with hiding():
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: answers.append(do()),))
        thread.start()
        thread.join(TIMEOUT_S)
    (answer,) = answers
    return answer


async def in_its_task(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What the coroutine of `make` returns, in a task that a recorded call started and waits for."""
    with hiding():
        task = asyncio.create_task(make())
        return await asyncio.wait_for(task, TIMEOUT_S)
