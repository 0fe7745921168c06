"""An account's service, and clients that call two of them; nothing here knows of noclobber.

Arguments: `starlette` or `aiohttp`, a port, Redis' address and a folder; or `client`, a library, how (`race`: both
accounts' services read before either writes; `ordered`: one call after the other's answer; `lucky`: the same by mere
timing, from two tasks) and the two services' addresses. A service prints the headers that it got.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

TIMEOUT_S = 20


class Account:
    """Adds to the balance that Redis keeps."""

    def __init__(self, url: str, folder: str, name: str) -> None:
        from redis.asyncio import Redis

        self._store = Redis.from_url(url, decode_responses=True)
        self._folder = Path(folder)
        self._name = name

    async def add(self, amount: int, *, meet: bool) -> None:
        """Read, perhaps meet the other service, write."""
        balance = int(await self._store.get("acct:1") or 0)
        if meet:
            (self._folder / self._name).touch()
            async with asyncio.timeout(TIMEOUT_S):
                while len(list(self._folder.iterdir())) < 2:  # noqa: ASYNC110  the other one is a process
                    await asyncio.sleep(0.01)
        await self._store.set("acct:1", balance + amount)


def show(headers: Any) -> None:
    print(json.dumps({name.lower(): value for name, value in headers.items()}), flush=True)


def starlette(port: int, account: Account) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def add(request: Any) -> JSONResponse:
        show(request.headers)
        await account.add(int(request.query_params["amount"]), meet="meet" in request.query_params)
        return JSONResponse("ok")

    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=passing)]
    app = Starlette(routes=[Route("/add", add, methods=["POST"])], middleware=middleware)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def aiohttp(port: int, account: Account) -> None:
    from aiohttp import web

    async def add(request: web.Request) -> web.Response:
        show(request.headers)
        await account.add(int(request.query["amount"]), meet="meet" in request.query)
        return web.json_response("ok")

    app = web.Application()
    app.add_routes([web.post("/add", add)])
    web.run_app(app, host="127.0.0.1", port=port, print=None)


async def call(library: str, url: str, client: Any) -> None:
    if library == "requests":
        answer = await asyncio.to_thread(client.post, url, timeout=TIMEOUT_S)
        assert "baggage" not in answer.request.headers
        status = answer.status_code
    elif library == "httpx-sync":
        answer = await asyncio.to_thread(client.post, url)
        assert "baggage" not in answer.request.headers
        status = answer.status_code
    elif library == "httpx":
        answer = await client.post(url)
        assert "baggage" not in answer.request.headers
        status = answer.status_code
    else:
        async with client.post(url) as answer:
            assert "baggage" not in answer.request_info.headers
            status = answer.status
    assert status == 200


async def act(library: str, client: Any, how: str, first: str, second: str) -> None:
    meet = "&meet=1" if how == "race" else ""
    urls = [f"{first}/add?amount=50{meet}", f"{second}/add?amount=-20{meet}"]
    if how == "ordered":
        for url in urls:
            await call(library, url, client)
        return
    done = asyncio.Event()
    if how == "race":
        done.set()

    async def early() -> None:
        await call(library, urls[0], client)
        done.set()

    async def late() -> None:
        await done.wait()
        await call(library, urls[1], client)

    await asyncio.gather(early(), late())


async def main(library: str, *words: str) -> None:
    if library == "requests":
        import requests

        with requests.Session() as session:
            await act(library, session, *words)
    elif library == "aiohttp":
        import aiohttp as web_client

        async with web_client.ClientSession() as client:
            await act(library, client, *words)
    else:
        import httpx

        if library == "httpx":
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                await act(library, client, *words)
        else:
            with httpx.Client(timeout=TIMEOUT_S) as client:
                await act(library, client, *words)


if sys.argv[1] == "client":
    asyncio.run(main(*sys.argv[2:]))
else:
    kind, port, url, folder = sys.argv[1:]
    {"starlette": starlette, "aiohttp": aiohttp}[kind](int(port), Account(url, folder, port))
