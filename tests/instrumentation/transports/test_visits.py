"""A request with a strand is handled by a child of it; any other changes nothing."""

import asyncio
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

import noclobber
from noclobber import recorder, scope, strands
from noclobber.testing import capture
from noclobber.transports.calls import out
from noclobber.transports.visits import handled, received

CALLER = "0123456789abcdef-12"


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    active = SimpleNamespace(
        settings=SimpleNamespace(http_hosts=("a.example", "*.svc:80")), edge=lambda *_: strands.current().take()
    )
    monkeypatch.setattr(recorder, "_active", active)


async def test_child_of_the_caller() -> None:
    """While it is handled, and no longer; the task has then waited for it."""
    before = strands.current()
    with received(f"a=1,noclobber.strand={CALLER}:7") as visit:
        handler = strands.current()
        assert (handler.parent_id, handler.parent_seq) == (CALLER, 7)
        assert visit is not None
        assert visit.answer() is None
        handler.take()
        assert visit.answer() == f"{handler.id}:1"
    assert strands.current() is before
    assert before.knows(handler)


@pytest.mark.parametrize("header", [None, "", "a=1", "noclobber.strand=x:1", "noclobber.strand=" + "9" * 9000])
async def test_others_change_nothing(header: str | None) -> None:
    """No baggage, other people's, and what can't be believed."""
    before = strands.current()
    with received(header) as visit:
        assert visit is None
        assert strands.current() is before


async def test_an_error_passes() -> None:
    """A handler's error, and its cancellation, leave the task as it was."""
    before = strands.current()
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error), received(f"noclobber.strand={CALLER}:7"):
            raise error
        assert strands.current() is before


@pytest.mark.parametrize(
    ("host", "port", "present", "told"),
    [("a.example", 443, None, True), ("A.example.", 1, None, True), ("b.svc", 80, None, True),
     ("b.svc", 81, None, False), ("a.example.evil", 443, None, False), ("xa.example", 443, None, False),
     (None, None, None, False), ("evil", 443, "user=1", True)],
)  # fmt: skip
async def test_who_is_told(host: str | None, port: int | None, present: str | None, told: bool) -> None:
    """Hosts on the list, and requests that carry baggage already."""
    assert (out(host, port, present) is not None) is told


async def test_two_requests_of_one_connection_are_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has read is nothing that the next one surely rests on; a step that is there already stays."""
    monkeypatch.undo()
    accounts = noclobber.tracked({"a": 100}, name="accounts")

    async def look(_: web.Request) -> web.Response:
        return web.json_response(accounts["a"])

    async def put(_: web.Request) -> web.Response:
        accounts["a"] = 150
        return web.json_response("ok")

    application = web.Application()
    application.add_routes([web.get("/", look), web.put("/", put)])
    with capture() as captured:
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}/".format(*runner.addresses[0][:2])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for ask in (session.get, session.put):
                async with ask(url) as answer:
                    assert answer.status == 200
        await runner.cleanup()
        with scope.entered(step="mine"), handled():
            accounts["a"] = 170
    read, write, mine = [each for each in captured.accesses if each["noclobber.op"] in ("read", "write")]
    assert len({read["noclobber.unit"], write["noclobber.unit"], mine["noclobber.unit"]}) == 3
    assert {each["noclobber.unit.kind"] for each in (read, write, mine)} == {"step"}
    assert write.get("noclobber.version.base.source") != "observed"
    assert mine["noclobber.step"] == "mine"
