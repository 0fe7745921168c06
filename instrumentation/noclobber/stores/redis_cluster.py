"""What a Redis cluster's clients do in the place of a single server's: where commands, pipelines and WATCH pass.

A cluster's client sends a command to the node that has its keys, follows redirections and tries again below the one
method that is wrapped, so one call is one access wherever it went. Its pipelines queue in a strategy: one that only
batches, and one that is a MULTI of one slot under WATCH. Both are told as a single server's pipeline is. A pipeline
sends what was redirected once more by the client itself; that is part of the pipeline and not recorded again.

Source: redis/cluster.py and redis/asyncio/cluster.py of redis-py 6 to 8.
"""

import logging
from typing import Any

from noclobber import strands
from noclobber.guard import GUARD

__all__ = ["enclosed", "enclosed_async", "hooks", "telling"]

log = logging.getLogger("noclobber")


def hooks() -> dict[tuple[type, str], str]:
    """Class and method -> what it is; none where this version's clusters are built otherwise."""
    try:
        import redis.asyncio.cluster as aio
        import redis.cluster as sync

        found: dict[tuple[type, str], str] = {
            (sync.RedisCluster, "execute_command"): "call",
            (aio.RedisCluster, "execute_command"): "async call",
            (sync.TransactionStrategy, "_immediate_execute_command"): "call",
            (aio.TransactionStrategy, "_immediate_execute_command"): "async call",
            (sync.TransactionStrategy, "_raise_first_error"): "raise",
            (aio.TransactionStrategy, "_raise_first_error"): "raise",
            (sync.TransactionStrategy, "reset"): "reset",
            (aio.TransactionStrategy, "reset"): "reset",
            (sync.PipelineStrategy, "execute"): "execute",
            (sync.TransactionStrategy, "execute"): "execute",
            (aio.PipelineStrategy, "execute"): "async execute",
            (aio.TransactionStrategy, "execute"): "async execute",
        }
    except (ImportError, AttributeError) as error:
        _unknown(str(error))
        return {}
    missing = [f"{owner.__name__}.{name}" for owner, name in found if name not in vars(owner)]
    if missing:
        _unknown(f"no {missing[0]}")
    return {} if missing else found


def _unknown(missing: str) -> None:
    from noclobber.stores.wrapping import LEFT_ALONE

    LEFT_ALONE["redis"] = f"its clusters alone, {missing}"
    log.warning("noclobber does not know the clusters of this version of redis (%s) and leaves them alone", missing)


def enclosed(original: Any) -> Any:
    """`execute` of a strategy, whose own calls of the client are part of it."""

    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        strand, queue = strands.current(), self._command_queue
        strand.suppressed += 1
        try:
            return original(self, *args, **kwargs)
        except Exception as error:
            _tell(self, queue, error)
            raise
        finally:
            strand.suppressed -= 1

    return execute


def enclosed_async(original: Any) -> Any:
    """The same for asyncio."""

    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        strand, queue = strands.current(), self._command_queue
        strand.suppressed += 1
        try:
            return await original(self, *args, **kwargs)
        except Exception as error:
            _tell(self, queue, error)
            raise
        finally:
            strand.suppressed -= 1

    return execute


def _tell(strategy: Any, queue: Any, error: Exception) -> None:
    """What each command answered, where one of them answered with the error: all of them were sent, then."""
    with GUARD:
        results = [getattr(command, "result", None) for command in queue]
        if any(result is error for result in results):
            strategy._noclobber_replies = results


def telling(original: Any) -> Any:
    """`_raise_first_error` of a MULTI: what the other commands answered would be lost with the error."""

    def raise_first_error(self: Any, responses: Any, *args: Any, **kwargs: Any) -> Any:
        with GUARD:
            self._noclobber_replies = list(responses)
        return original(self, responses, *args, **kwargs)

    return raise_first_error
