"""AutoGen: who acts in a runtime, and which message made whom do what.

Whoever handles a message acts: its type is the agent, its key or the topic's source the run, the message the step. An
AgentChat agent acts under its own name; each tool call is a step.

A message is handled in a task that the runtime's loop makes, so nothing joins it to its sender but its id: a `send` and
a `receive` tell of it, without them ordered work would look parallel. The library gives each message an id unless its
sender does; it is given here, so that the sender's span has it too. Who awaits an answer waits for the handler, which
is a join. Each recipient of a published message is a group of its own, since each gets it once.

Source: autogen_core/_single_threaded_agent_runtime.py, _base_agent.py (0.7); capture.md 4 and 5.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Op, Outcome
from noclobber.edges import joined
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.frameworks.seams import is_hidden
from noclobber.guard import GUARD
from noclobber.resources import uri
from noclobber.stores.wrapping import Wrapping, knowing
from noclobber.strands import Strand

__all__ = ["INTEGRATION"]

LIBRARY: Final = "autogen"
ANSWERS_MAX: Final = 10_000
"""Messages whose senders wait for an answer; of the oldest the join is not told."""

_wrapping = Wrapping(LIBRARY)
_handlers: "OrderedDict[str, Strand | None]" = OrderedDict()
"""Message that somebody waits for -> the strand that has handled it, None as long as it has not."""


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap the runtime's sending, and what agents and tools do."""
    from autogen_core import _single_threaded_agent_runtime, tools

    runtime = _single_threaded_agent_runtime.SingleThreadedAgentRuntime
    _wrapping.wrap(
        [
            (runtime, "send_message", _sending),
            (runtime, "publish_message", _publishing),
            (library.BaseAgent, "on_message", _handling),
            (tools.BaseTool, "run_json", acting(_tool)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    _handlers.clear()


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    call = args[3] if len(args) > 3 else kwargs.get("call_id")
    return Who(None, None, call or fresh(args[0].name))


# -- messages --------------------------------------------------------------------------------------------------------


def _named(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a sending, with the id that the library would make."""
    return kwargs if kwargs.get("message_id") is not None else {**kwargs, "message_id": str(uuid.uuid4())}


def _tell(op: Op, resource: str, message: str, group: str | None, error: BaseException | None = None) -> None:
    call = None if is_hidden() else recorder.begin(LIBRARY)
    if call is not None:
        recorder.end(call, _build, (op, resource, message, group), error)


def _build(call: Call) -> Sequence[Access]:
    op, resource, message, group = call.facts
    attributes: dict[str, AttributeValue] = {Attr.MESSAGE_ID: message}
    if group is not None:
        attributes[Attr.MESSAGE_GROUP] = group
    return [Access(op, resource, LIBRARY, Outcome.OK, attributes=attributes)]


def _of_agent(agent: Any) -> str:
    return uri(LIBRARY, "", str(agent.type), str(agent.key))


def _of_topic(topic: Any) -> str:
    return uri(LIBRARY, "", "topic", str(topic.type), str(topic.source))


def _sending(original: Any) -> Any:
    async def send_message(self: Any, message: Any, recipient: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.active() is None:
            return await original(self, message, recipient, *args, **kwargs)
        named = _named(kwargs)
        with GUARD:
            _handlers[named["message_id"]] = None
            if len(_handlers) > ANSWERS_MAX:
                _handlers.popitem(last=False)
            _tell(Op.SEND, _of_agent(recipient), named["message_id"], None)
        try:
            return await original(self, message, recipient, *args, **named)
        finally:
            with GUARD:
                handler = _handlers.pop(named["message_id"], None)
                if asyncio._get_running_loop() is not None:
                    joined(handler)

    return send_message


def _publishing(original: Any) -> Any:
    async def publish_message(self: Any, message: Any, topic_id: Any, *args: Any, **kwargs: Any) -> None:
        if recorder.active() is None:
            await original(self, message, topic_id, *args, **kwargs)
            return
        named = _named(kwargs)
        with GUARD:
            _tell(Op.SEND, _of_topic(topic_id), named["message_id"], None)
        await original(self, message, topic_id, *args, **named)

    return publish_message


def _handling(original: Any) -> Any:
    """What an agent does with a message: it has received it, and acts."""

    async def handle(self: Any, message: Any, ctx: Any) -> Any:
        with GUARD:
            place = _of_agent(self.id) if ctx.topic_id is None else _of_topic(ctx.topic_id)
            _tell(Op.RECEIVE, place, ctx.message_id, str(self.id))
        try:
            return await original(self, message, ctx)
        finally:
            with GUARD:
                if ctx.message_id in _handlers:
                    _handlers[ctx.message_id] = strands.current()

    acted = acting(_handler)(handle)

    async def on_message(self: Any, message: Any, ctx: Any) -> Any:
        return await acted(self, message, ctx)

    return on_message


def _handler(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    agent, _, ctx = args
    topic = ctx.topic_id
    return Who(_name(agent), str(topic.source if topic is not None else agent.id.key), ctx.message_id)


def _name(agent: Any) -> str:
    """An AgentChat agent lives in a container, under its own name and its team's id."""
    inner = getattr(agent, "_agent", None)
    return str(getattr(inner, "name", None) or agent.id.type)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
