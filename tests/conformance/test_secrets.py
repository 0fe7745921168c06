"""Planted secrets over every integration: none leaves in spans, spool or logs, in whatever form; none is forgotten."""

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path

import broker_stage
import pytest
from mariadb_stage import mariadb
from memcached_stage import memcached
from mongo_stage import mongo
from moto_stage import aws
from planted import found_in
from planted_run import AGENT, ONLY_ORDER, SECRET, planted
from pubsub_stage import SUBSCRIPTION, TOPIC, pubsub

from noclobber.bootstrap.registry import INTEGRATIONS
from noclobber_sidecar.demo import servers

TESTS = Path(__file__).parents[1]
HERE = (
    "sqlite3", "aiosqlite", "sqlalchemy", "django", "redis", "diskcache", "multiprocessing", "files", "langgraph",
    "httpx", "requests", "aiohttp", "aiohttp-web", "starlette", "faststream", "google-cloud-pubsub",
    "fsspec-memory", "requests-cache",
)  # fmt: skip
LARGE = (
    "psycopg", "asyncpg", "pymysql", "aiomysql", "asyncmy", "pymemcache", "botocore", "python-dynamodb-lock", "nats",
    "pika", "aio_pika", "aiokafka", "confluent_kafka", "kazoo", "etcd3gw", "celery", "pymongo",
)  # fmt: skip
"""Those whose servers take longer to start."""
NO_VALUES = {
    "anyio": "only order",
    "gevent": "only order",
    "uvloop": "only order",
    "filelock": "a path and nothing else",
    "faiss": "numbers",
    "pottery": "names of locks",
}
ELSEWHERE = {
    "aiobotocore": "clouds/test_aiobotocore.py",
    "chromadb": "vectors/test_chroma.py", "qdrant_client": "vectors/test_qdrant.py",
    "lancedb": "vectors/test_lancedb.py", "pymilvus": "vectors/test_milvus.py",
    "autogen": "frameworks/test_autogen.py", "autogen-agentchat": "frameworks/test_autogen.py",
    "crewai": "frameworks/test_crewai.py", "agent-framework": "frameworks/test_agent_framework.py",
    "agent-framework-workflows": "frameworks/test_agent_framework.py", "google-adk": "frameworks/test_google_adk.py",
    "llama-index-workflows": "frameworks/test_llama_index.py", "mcp": "frameworks/test_mcp.py",
    "pydantic-ai": "frameworks/test_pydantic_ai.py", "pydantic-ai-conversations": "frameworks/test_pydantic_ai.py",
    "smolagents": "frameworks/test_smolagents.py", "mem0": "frameworks/test_mem0.py",
    "openai-agents": "frameworks/test_openai_agents.py",
}  # fmt: skip
"""Libraries that need an environment of their own; there each program's spans are searched for what it planted."""


def test_no_integration_is_forgotten() -> None:
    """Every one has its row here: a program, a reason, or the tests of its own environment."""
    planting = {
        str(ast.literal_eval(each.args[0]))
        for file in AGENT.parent.glob("planting*.py")
        for each in ast.walk(ast.parse(file.read_text()))
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "plants"
    }
    assert {*HERE, *LARGE, *NO_VALUES, *ELSEWHERE} == INTEGRATIONS.keys()
    assert {*HERE, *LARGE} == (planting | ONLY_ORDER) - ELSEWHERE.keys()
    for file in ELSEWHERE.values():
        text = (TESTS / file).read_text()
        assert "play(" in text or "def test_secrets_stay" in text, file


def test_the_search_finds() -> None:
    """Each form is found, also in the middle of something longer; a keyed print is none of them."""
    import base64
    import hashlib

    for form in (SECRET.encode(), SECRET.encode().hex().encode(), base64.b64encode(b"a note: " + SECRET.encode())):
        assert found_in(b"before " + form + b" after", SECRET)
    assert found_in(hashlib.sha256(SECRET.encode()).hexdigest().encode(), SECRET)
    assert found_in(hashlib.blake2b(SECRET.encode(), digest_size=16, key=b"k").hexdigest().encode(), SECRET) == []


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Servers that start quickly."""
    (tmp_path / "valkey").mkdir()
    with servers.redis_compatible(tmp_path / "valkey") as url, pubsub() as service:
        yield {
            "REDIS": url, "PUBSUB_EMULATOR_HOST": service.address,
            "PUBSUB_TOPIC": TOPIC, "PUBSUB_SUBSCRIPTION": SUBSCRIPTION,
        }  # fmt: skip


@pytest.fixture
def more_places(places: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Servers that do not."""
    with contextlib.ExitStack() as stack:
        for name in ("postgres", "nats", "rabbitmq", "kafka", "zookeeper", "etcd", "mongo"):
            (tmp_path / name).mkdir()
        yield {
            **places,
            "POSTGRES": stack.enter_context(servers.postgres(tmp_path / "postgres")).replace("+psycopg", ""),
            "MARIADB": str(stack.enter_context(mariadb())),
            "MEMCACHED": str(stack.enter_context(memcached())[1]),
            "AWS": stack.enter_context(aws()),
            "NATS": stack.enter_context(broker_stage.nats(tmp_path / "nats")),
            "RABBITMQ": stack.enter_context(broker_stage.rabbitmq(tmp_path / "rabbitmq")),
            "KAFKA": stack.enter_context(broker_stage.kafka(tmp_path / "kafka")),
            "ZOOKEEPER": stack.enter_context(broker_stage.zookeeper(tmp_path / "zookeeper")),
            "MONGODB": stack.enter_context(mongo(tmp_path / "mongo")),
            "ETCD": str(stack.enter_context(broker_stage.etcd(tmp_path / "etcd"))),
        }


def test_secrets_stay(places: dict[str, str], tmp_path: Path) -> None:
    """Values, conditions, literals, bodies, headers, what errors say."""
    planted(HERE, places, tmp_path)


@pytest.mark.long
def test_secrets_stay_with_servers(more_places: dict[str, str], tmp_path: Path) -> None:
    """The same of databases, brokers and coordinators."""
    planted(LARGE, more_places, tmp_path)
