"""MCP: each call of a tool, by the client that makes it: a read where the tool says that it only looks, else an effect.

What a tool does the server says in its list of tools, as hints. A tool marked read-only is a `read`; one marked
idempotent is an effect with a key, since calling it again with the same arguments does nothing more; any other is an
effect that can't be taken back. A tool that gives no hints, or was never listed, may well be one that only looks: its
calls are partial, so that nothing certain rests on them. Arguments leave only as a keyed hash.

A tool that answers with an error may have done its work before, or nothing of it: unknown, and partial. An answer that
asks for more input is no call yet.

Source: the MCP specification, 2025-11-25, `ToolAnnotations`; mcp/client/session.py (1.20 to 2.3); contract 2.1.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, versions
from noclobber.access import Access, AttributeValue, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Op, Outcome
from noclobber.frameworks.states import printed
from noclobber.guard import GUARD
from noclobber.resources import uri
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "mcp"
TOOLS_MAX: Final = 10_000
"""Tools of one session whose hints are kept."""
REFUSED: Final = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC errors of a request that was never carried out."""

_wrapping = Wrapping(LIBRARY)


@dataclass(slots=True)
class _Asked:
    """One call: of which server and tool, with which hints (None: unknown) and hash, and what came of it."""

    server: str
    tool: str
    hints: Any
    hash: str
    reply: Any = None


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap the session of a client."""
    session = library.ClientSession
    _wrapping.wrap(
        [(session, "call_tool", _calling), (session, "list_tools", _listing), (session, "initialize", _greeting)]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- what a server says of itself ----------------------------------------------------------------------------------


def _greeting(original: Any) -> Any:
    async def initialize(self: Any, *args: Any, **kwargs: Any) -> Any:
        reply = await original(self, *args, **kwargs)
        with GUARD:
            self._noclobber_server = _name(reply)
        return reply

    return initialize


def _name(greeting: Any) -> str | None:
    """The server's name, as version 1 or 2 of the library spells it."""
    about = getattr(greeting, "server_info", None) or getattr(greeting, "serverInfo", None)
    return getattr(about, "name", None)


def _server(session: Any) -> str:
    known = getattr(session, "_noclobber_server", None)
    if known is None:  # connected before noclobber was on, or without a greeting
        found = getattr(getattr(session, "_discover_server_info", None), "name", None)
        known = found or _name(getattr(session, "_initialize_result", None)) or "mcp"
    return str(known)


def _listing(original: Any) -> Any:
    async def list_tools(self: Any, *args: Any, **kwargs: Any) -> Any:
        reply = await original(self, *args, **kwargs)
        with GUARD:
            known = self.__dict__.setdefault("_noclobber_tools", {})
            for tool in reply.tools:
                if len(known) < TOOLS_MAX or tool.name in known:
                    known[tool.name] = tool.annotations
        return reply

    return list_tools


def _hint(hints: Any, *names: str) -> bool | None:
    return next((found for name in names if (found := getattr(hints, name, None)) is not None), None)


# -- calls -----------------------------------------------------------------------------------------------------------


def _calling(original: Any) -> Any:
    async def call_tool(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(self, args, kwargs)
        try:
            reply = await original(self, *args, **kwargs)
        except BaseException as error:
            _end(call, None, error)
            raise
        _end(call, reply, None)
        return reply

    return call_tool


def _begin(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    with GUARD:
        active = recorder.recording()
        if active is None:
            return None
        tool = args[0] if args else kwargs["name"]
        arguments = args[1] if len(args) > 1 else kwargs.get("arguments")
        asked = versions.encode({"tool": tool, "arguments": arguments or {}})
        hints = getattr(session, "_noclobber_tools", {}).get(tool)
        facts = _Asked(_server(session), str(tool), hints, versions.fingerprint(asked))
        call = active.begin(LIBRARY)
        call.facts = facts
        return call
    return None


def _end(call: Call | None, reply: Any, error: BaseException | None) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None and call is not None:
            call.error = error
            call.facts.reply = reply
            active.end(call, _build, call.facts)


def _build(call: Call) -> Sequence[Access]:
    asked: _Asked = call.facts
    return [_look(call, asked) if _hint(asked.hints, "read_only_hint", "readOnlyHint") else _act(call, asked)]


def _look(call: Call, asked: _Asked) -> Access:
    """A tool that only looks: what it answers to the same arguments is one state."""
    access = Access(Op.READ, uri("mcp", asked.server, asked.tool, asked.hash[:16]), LIBRARY)
    if _outcome(call.error, asked.reply) is Outcome.OK:
        access.attributes = printed(Attr.VERSION_READ, [each.model_dump(mode="json") for each in asked.reply.content])
    else:
        access.outcome = Outcome.ERROR
    return access


def _act(call: Call, asked: _Asked) -> Access:
    outcome = _outcome(call.error, asked.reply)
    attributes: dict[str, AttributeValue] = {Attr.EFFECT_HASH: asked.hash}
    if _hint(asked.hints, "idempotent_hint", "idempotentHint"):
        attributes[Attr.EFFECT_KEY] = asked.hash
    if (outcome is Outcome.UNKNOWN and call.error is None) or not _says_something(asked.hints):
        attributes[Attr.PARTIAL] = True
    if isinstance(call.error, asyncio.CancelledError):
        attributes[Attr.CANCELLED] = True
    return Access(Op.EFFECT, uri("effect", asked.server, asked.tool), LIBRARY, outcome, attributes=attributes)


def _says_something(hints: Any) -> bool:
    names = ("read_only_hint", "readOnlyHint"), ("destructive_hint", "destructiveHint")
    return any(_hint(hints, *each) is not None for each in (*names, ("idempotent_hint", "idempotentHint")))


def _outcome(error: BaseException | None, reply: Any) -> Outcome:
    if error is not None:
        code = getattr(getattr(error, "error", None), "code", None)
        return Outcome.ERROR if code in REFUSED else Outcome.UNKNOWN
    if _hint(reply, "is_error", "isError"):
        return Outcome.UNKNOWN
    return Outcome.OK if hasattr(reply, "content") else Outcome.NO_EFFECT


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
