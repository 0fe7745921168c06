"""Which libraries are instrumented, and when: each as soon as the program imports it.

An integration is a module of this package that names the libraries it hooks. Nothing of it is imported before the
library itself is: a program that never imports Redis never pays for it. However many ways into the process are
combined, each integration is installed once.
"""

import functools
import importlib
import logging
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from noclobber.guard import GUARD
from noclobber.settings import Settings

__all__ = ["INTEGRATIONS", "Integration", "install", "installed", "uninstall"]

log = logging.getLogger("noclobber")


@dataclass(frozen=True, slots=True)
class Integration:
    """One library's hooks.

    Attributes:
        name: as users switch it on and off.
        install: hooks the library, given its module. Called once.
        uninstall: takes all hooks out again.
    """

    name: str
    install: Callable[[ModuleType], None]
    uninstall: Callable[[], None]


INTEGRATIONS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "anyio": ("noclobber.anyio_tasks", ("anyio._backends._asyncio",)),
    "uvloop": ("noclobber.uvloop_tasks", ("uvloop",)),
    "gevent": ("noclobber.greenlets", ("gevent",)),
    "httpx": ("noclobber.transports.httpx", ("httpx",)),
    "requests": ("noclobber.transports.requests", ("requests.adapters",)),
    "aiohttp": ("noclobber.transports.aiohttp", ("aiohttp.client_reqrep",)),
    "aiohttp-web": ("noclobber.transports.aiohttp_web", ("aiohttp.web",)),
    "starlette": ("noclobber.transports.starlette", ("starlette.applications",)),
    "files": ("noclobber.stores.files", ("io",)),
    "fsspec-memory": ("noclobber.stores.fsspec_memory", ("fsspec.implementations.memory",)),
    "filelock": ("noclobber.locks.filelock", ("filelock",)),
    "python-dynamodb-lock": ("noclobber.locks.dynamodb", ("python_dynamodb_lock.python_dynamodb_lock",)),
    "redis": ("noclobber.stores.redis", ("redis",)),
    "pottery": ("noclobber.locks.pottery", ("pottery",)),
    "pymemcache": ("noclobber.stores.pymemcache", ("pymemcache",)),
    "diskcache": ("noclobber.stores.diskcache", ("diskcache",)),
    "requests-cache": ("noclobber.stores.requests_cache", ("requests_cache",)),
    "multiprocessing": ("noclobber.stores.managers", ("multiprocessing.managers",)),
    "sqlalchemy": ("noclobber.stores.sqlalchemy", ("sqlalchemy",)),
    "sqlite3": ("noclobber.stores.sqlite3", ("sqlite3",)),
    "django": ("noclobber.stores.django", ("django.db.backends.signals",)),
    "aiosqlite": ("noclobber.stores.aiosqlite", ("aiosqlite",)),
    "psycopg": ("noclobber.stores.psycopg", ("psycopg",)),
    "asyncpg": ("noclobber.stores.asyncpg", ("asyncpg",)),
    "pymysql": ("noclobber.stores.pymysql", ("pymysql",)),
    "aiomysql": ("noclobber.stores.aiomysql", ("aiomysql",)),
    "asyncmy": ("noclobber.stores.asyncmy", ("asyncmy.connection",)),
    "pika": ("noclobber.queues.pika", ("pika.adapters.blocking_connection",)),
    "aio_pika": ("noclobber.queues.aio_pika", ("aio_pika",)),
    "aiokafka": ("noclobber.queues.aiokafka", ("aiokafka",)),
    "confluent_kafka": ("noclobber.queues.confluent_kafka", ("confluent_kafka",)),
    "nats": ("noclobber.queues.nats", ("nats.js.client",)),
    "kazoo": ("noclobber.stores.kazoo", ("kazoo.client",)),
    "etcd3gw": ("noclobber.stores.etcd3gw", ("etcd3gw.client",)),
    "google-cloud-pubsub": ("noclobber.queues.google_pubsub", ("google.cloud.pubsub_v1",)),
    "faststream": ("noclobber.queues.faststream", ("faststream",)),
    "celery": ("noclobber.queues.celery", ("celery.app.base",)),
    "botocore": ("noclobber.stores.botocore", ("botocore.client",)),
    "aiobotocore": ("noclobber.stores.aiobotocore", ("aiobotocore.client",)),
    "pymongo": ("noclobber.stores.pymongo", ("pymongo",)),
    "chromadb": ("noclobber.stores.chroma", ("chromadb",)),
    "qdrant_client": ("noclobber.stores.qdrant", ("qdrant_client",)),
    "lancedb": ("noclobber.stores.lancedb", ("lancedb",)),
    "faiss": ("noclobber.stores.faiss", ("faiss",)),
    "pymilvus": ("noclobber.stores.milvus", ("pymilvus",)),
    "langgraph": ("noclobber.frameworks.langgraph", ("langgraph.pregel",)),
    "autogen": ("noclobber.frameworks.autogen", ("autogen_core",)),
    "autogen-agentchat": ("noclobber.frameworks.autogen_agentchat", ("autogen_agentchat.agents",)),
    "crewai": ("noclobber.frameworks.crewai", ("crewai",)),
    "agent-framework": ("noclobber.frameworks.agent_framework", ("agent_framework._agents",)),
    "agent-framework-workflows": (
        "noclobber.frameworks.agent_framework_workflows",
        ("agent_framework._workflows._runner",),
    ),
    "google-adk": ("noclobber.frameworks.google_adk", ("google.adk.runners",)),
    "llama-index-workflows": ("noclobber.frameworks.llama_index", ("workflows",)),
    "mcp": ("noclobber.frameworks.mcp", ("mcp.client.session",)),
    "pydantic-ai": ("noclobber.frameworks.pydantic_ai", ("pydantic_ai.tool_manager",)),
    "pydantic-ai-conversations": (
        "noclobber.frameworks.pydantic_ai_conversations",
        ("pydantic_ai.conversation_store",),
    ),
    "smolagents": ("noclobber.frameworks.smolagents", ("smolagents.agents",)),
    "mem0": ("noclobber.frameworks.mem0", ("mem0.memory.main",)),
    "openai-agents": ("noclobber.frameworks.openai_agents", ("agents.run",)),
}
"""Name -> module of the integration, and the library modules whose import triggers it."""

_installed: dict[str, Integration] = {}
_hooked: set[str] = set()


def install(settings: Settings) -> None:
    """Hook every integration that the settings leave on: now where its library is imported, else when it is."""
    from wrapt import register_post_import_hook

    for name, (module, triggers) in INTEGRATIONS.items():
        if name in settings.without or (settings.integrations is not None and name not in settings.integrations):
            continue
        for trigger in triggers:
            if f"{name}:{trigger}" in _hooked:
                continue
            _hooked.add(f"{name}:{trigger}")
            if trigger in sys.modules:
                _install_one(name, module, sys.modules[trigger])
            else:
                register_post_import_hook(functools.partial(_install_one, name, module), trigger)


def installed() -> dict[str, Integration]:
    """What is hooked, by name."""
    return dict(_installed)


def uninstall(keep: Container[str] = ()) -> None:
    """Take every hook out again, but those of the integrations in `keep`."""
    for name in [name for name in _installed if name not in keep]:
        with GUARD:
            _installed.pop(name).uninstall()
    _hooked.clear()


def _install_one(name: str, module: str, library: ModuleType) -> None:
    from noclobber.recorder import active
    from noclobber.stores.wrapping import leave_alone

    if name in _installed or active() is None:
        return
    with GUARD:
        integration: Integration = importlib.import_module(module).INTEGRATION
        _installed[name] = integration
        try:
            integration.install(library)
        except Exception as error:
            leave_alone(name, f"{type(error).__name__}: {error}")
            integration.uninstall()  # half of its hooks would tell half a story
            raise
