"""Kinds as real stores produce them: each story by itself, and as it should have been told.

Real Redis (a primary, and a replica that falls behind), PostgreSQL and MariaDB. The agents, in `acts`, know nothing of
noclobber; they take turns by a list that capture does not see, so versions and clocks decide.
"""

import contextlib
import io
import json
import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import kinds_mariadb
import kinds_postgres
import kinds_redis
import kinds_replica
import kinds_streams
import psycopg
import pymysql
import pytest
import redis
from mariadb_stage import DATABASE, USER, mariadb
from rounds import problems

from noclobber.cli import main
from noclobber.otlp import json_line
from noclobber.testing import capture
from noclobber_analyzer.kinds import KINDS
from noclobber_sidecar.demo import servers

TIMEOUT_S = 60
ROOT: Final = Path(__file__).parents[2]
ELSEWHERE: Final = {
    "fork": "test_demo_truth.py",
    "double_claim": "test_demo_truth.py",
    "duplicate_effect": "test_mcp.py",
}
"""Kinds that other tests show from a real store, or a real framework; by the module that does."""
SURE: Final = {
    "phantom_read": "certain",
    "duplicate_delivery": "certain",
    "invariant_violation": "certain",
    "blind_overwrite": "possible",
}
"""Where it is not `likely`: contents of plain stores may repeat, which is all that is missing for most."""
DECLARED: Final[dict[str, dict[str, object]]] = {
    "garbage_read": {"pattern": "redis://*/plan", "closed": True},
    "invariant_violation": {"pattern": "redis://*/shift", "invariant": "size <= 30"},
}
DOCTORS: Final = (
    "DROP TABLE IF EXISTS doctors",
    "CREATE TABLE doctors (id int PRIMARY KEY, note varchar(200))",
    *(f"INSERT INTO doctors VALUES ({n}, 'on call, says the plan of week {n}')" for n in (1, 2, 3)),
)


def _safe_too(kinds: list[str]) -> list[Any]:
    return [pytest.param(kind, safe, id=kind + "-safe" * safe) for kind in kinds for safe in (False, True)]


def _judged(
    folder: Path, act: Callable[[], None], *tables: dict[str, object]
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Kind and certainty of each finding about an act, and what was defended."""
    with capture(fixed=False, tables=tables) as captured:
        thread = threading.Thread(target=act)
        thread.start()
        thread.join(TIMEOUT_S)
    file, config = folder / "spans.jsonl", folder / "noclobber.toml"
    file.write_text("".join(json_line(captured.resource, export) + "\n" for export in captured.exports))
    lines = [["[[resource]]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())] for table in tables]
    _keep(file)
    config.write_text("\n".join(line for table in lines for line in table))
    assert problems(file) == []
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(["check", "--format", "json", "--min-certainty", "possible", "--config", str(config), str(file)])
    *found, last = [json.loads(line) for line in out.getvalue().splitlines()]
    assert last["summary"]["coverage"]["lost_spans"] == 0
    return [(each["kind"], each["certainty"]) for each in found], last["summary"]["defended"]


def _keep(file: Path) -> None:
    """Keep what was recorded for the guide's pictures, where that is asked for: without this machine's names."""
    folder, test = os.environ.get("NOCLOBBER_RECORD"), os.environ["PYTEST_CURRENT_TEST"]
    kind = test.split("[")[1].split("]")[0]
    if folder and not kind.endswith("-safe"):
        text = file.read_text().replace(f"{ROOT}/", "").replace(socket.gethostname(), "agents-1")
        text = re.sub(r"%2Ftmp%2F[^:]+", "", text)  # where PostgreSQL's socket lies
        (Path(folder) / f"{kind}.jsonl").write_text(text)


def _holds(kind: str, safe: bool, found: list[tuple[str, str]]) -> None:
    if safe:
        assert [each for each in found if each[1] != "possible" or each[0] == kind] == []
    else:
        assert found == [(kind, SURE.get(kind, "likely"))]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """PostgreSQL; how to connect."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.postgres(Path(folder)) as url,
    ):
        yield url.replace("+psycopg", "")


@pytest.mark.parametrize(("kind", "safe"), _safe_too([tell.__name__ for tell in kinds_postgres.LEVELS]))
def test_postgresql(kind: str, safe: bool, postgres: str, tmp_path: Path) -> None:
    """What an isolation level lets through, and what the next better one does not."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        for statement in DOCTORS:
            connection.execute(statement)
    story = kinds_postgres.STORIES[kind + "-safe" * safe]
    found, defended = _judged(tmp_path, lambda: story(postgres))
    _holds(kind, safe, found)
    assert defended == ({"serializable": 1} if safe and kind in ("write_skew", "serialization_cycle") else {})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """MariaDB; its port."""
    with mariadb() as found:
        yield found


@pytest.mark.parametrize(("kind", "safe"), _safe_too(["dirty_read", "intermediate_read"]))
def test_mariadb(kind: str, safe: bool, port: int, tmp_path: Path) -> None:
    """What is read of a transaction that is not over, and not under a better level."""
    where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": USER, "database": DATABASE}
    with contextlib.closing(pymysql.connect(**where, autocommit=True)) as connection:
        for statement in DOCTORS:
            connection.cursor().execute(statement)
    found, _ = _judged(tmp_path, lambda: kinds_mariadb.STORIES[kind + "-safe" * safe](str(port)))
    _holds(kind, safe, found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with servers.redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.mark.parametrize("story", [*kinds_redis.STORIES, *kinds_streams.STORIES])
def test_redis(story: str, server: str, tmp_path: Path) -> None:
    """What agents do to each other's plan, locks, orders, and as they should."""
    with redis.Redis.from_url(server) as client:
        client.flushall()
        client.set("plan", kinds_redis.PLAN)
    kind, safe = story.removesuffix("-safe"), story.endswith("-safe")
    tables = [DECLARED[kind]] if kind in DECLARED else []
    act = {**kinds_redis.STORIES, **kinds_streams.STORIES}[story]
    found, _ = _judged(tmp_path, lambda: act(server), *tables)
    _holds(kind, safe, found)


@pytest.mark.parametrize(("kind", "safe"), _safe_too(list(kinds_replica.STORIES)))
def test_replica(kind: str, safe: bool, server: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a replica that is behind tells; who reads at the primary hears it right. Both are declared as one store."""
    with servers.redis_compatible(tmp_path_factory.mktemp("replica")) as replica:
        stage = kinds_replica.Stage(server, replica)
        here, there = (f"redis://{socket.gethostname()}:{_port(url)}/" for url in (server, replica))
        found, _ = _judged(
            tmp_path, lambda: kinds_replica.STORIES[kind](stage, safe), {"pattern": f"{there}*", "alias_of": here}
        )
        stage.close()
    _holds(kind, safe, found)


def _port(url: str) -> int:
    return int(url.rstrip("/").split(":")[2].split("/")[0])


def test_no_kind_is_called_what_it_is_not() -> None:
    """The table says of exactly these that a real store has shown them."""
    acts = (kinds_mariadb, kinds_postgres, kinds_redis, kinds_replica, kinds_streams)
    shown = {story.removesuffix("-safe") for act in acts for story in act.STORIES}
    assert {str(kind) for kind, facts in KINDS.items() if facts.shown_from_store} == shown | set(ELSEWHERE)
