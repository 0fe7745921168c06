"""Two agents that share a memory of mem0; nothing here knows of noclobber.

Third argument: `sync` or `async`; the fourth is a folder. The plain agents get, and update; the safe ones add.
"""

import asyncio
import http.server
import json
import logging
import sys
import threading

from account import HOW, SECRET, TIMEOUT_S, meet
from mem0 import AsyncMemory, Memory

logging.disable()  # the library tells of what is not installed
WAY, FOLDER = sys.argv[3:5]


class Embedder(http.server.BaseHTTPRequestHandler):
    """Speaks the part of OpenAI's protocol that makes vectors."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"object": "embedding", "index": n, "embedding": [0.5] * 8} for n, _ in enumerate(texts)]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        body = json.dumps({"object": "list", "data": data, "model": "fake", "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Embedder)
threading.Thread(target=server.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{server.server_port}/v1"
CONFIG = {
    "llm": {"provider": "openai", "config": {"api_key": "none", "openai_base_url": BASE}},
    "embedder": {
        "provider": "openai",
        "config": {"api_key": "none", "openai_base_url": BASE, "embedding_dims": 8, "model": "fake"},
    },
    "vector_store": {"provider": "qdrant", "config": {"path": f"{FOLDER}/qdrant", "embedding_model_dims": 8}},
    "history_db_path": f"{FOLDER}/history.db",
}
both_have_read = threading.Barrier(2)


def remember(memory: Memory, memory_id: str, what: str) -> None:
    """Add to what is known of a user, in one text or in a memory of its own."""
    if HOW == "safe":
        memory.add(what, user_id="user-1", infer=False)
        return
    known = memory.get(memory_id)["memory"]
    both_have_read.wait(TIMEOUT_S)
    memory.update(memory_id, text=f"{known} {what}")


async def aremember(memory: AsyncMemory, memory_id: str, what: str) -> None:
    """The same for agents of one event loop."""
    if HOW == "safe":
        await memory.add(what, user_id="user-1", infer=False)
        return
    found = await memory.search("the user", filters={"user_id": "user-1"}, threshold=0.0)
    known = next(each["memory"] for each in found["results"] if each["id"] == memory_id)
    await meet()
    await memory.update(memory_id, text=f"{known} {what}")


def in_threads() -> int:
    memory = Memory.from_config(CONFIG)
    first = memory.add(f"likes tea {SECRET}", user_id="user-1", infer=False)["results"][0]["id"]
    agents = {"barista": "and coffee", "doctor": "but no sugar"}
    threads = [
        threading.Thread(target=remember, args=(memory, first, what), name=name) for name, what in agents.items()
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(TIMEOUT_S)
    count = len(memory.get_all(filters={"user_id": "user-1"})["results"])
    memory.delete_all(user_id="user-1")
    return count


async def in_tasks() -> int:
    memory = AsyncMemory.from_config(CONFIG)
    first = (await memory.add(f"likes tea {SECRET}", user_id="user-1", infer=False))["results"][0]["id"]
    agents = {"barista": "and coffee", "doctor": "but no sugar"}
    async with asyncio.TaskGroup() as group:
        for name, what in agents.items():
            group.create_task(aremember(memory, first, what), name=name)
    return len((await memory.get_all(filters={"user_id": "user-1"}))["results"])


print(in_threads() if WAY == "sync" else asyncio.run(in_tasks()))
