"""The plugin for pytest: a test fails on a race between the strands that it runs.

    @pytest.mark.noclobber(fail_on="low", min_certainty="likely", latent=False)
    def test_agents(): ...

`--noclobber` watches a whole suite; the fixture `noclobber` gives a test what is known so far. Every installation that
has pytest loads this module, so it imports nothing of noclobber's until a test asks for it.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from noclobber_analyzer.suite import Suite
    from noclobber_analyzer.watching import Watched

SUITE: pytest.StashKey["Suite"] = pytest.StashKey()
WATCHED: pytest.StashKey["Watched"] = pytest.StashKey()
SAID = (
    "noclobber(fail_on='low', min_certainty='likely', latent=False, kinds=(), enabled=True): "
    "fail on races between the strands of this test"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("noclobber", "races on shared state")
    group.addoption("--noclobber", action="store_true", help="watch every test, not only those that are marked")
    group.addoption("--noclobber-fail-on", default="low", metavar="SEVERITY", help="least severity that fails a test")
    group.addoption("--noclobber-min-certainty", default="likely", metavar="C", help="least certainty that fails one")
    group.addoption("--noclobber-kinds", default="", metavar="KIND,KIND", help="only these kinds")
    group.addoption("--noclobber-latent", action="store_true", help="fail on what luck alone kept apart, too")
    group.addoption("--noclobber-exact", action="store_true", help="ask stores what a write replaces")
    group.addoption("--noclobber-baseline", type=Path, metavar="FILE", help="known findings, which fail nothing")
    group.addoption("--noclobber-update-baseline", action="store_true", help="write what is found into that file")
    group.addoption(
        "--noclobber-chaos", nargs="?", const="", metavar="SEED|PLAN", help="hold strands at accesses in every test"
    )


def pytest_configure(config: pytest.Config) -> None:
    """A whole suite is watched from before its modules are imported; on xdist's controller no test runs."""
    config.addinivalue_line("markers", SAID)
    if config.getoption("--noclobber") or config.getoption("--noclobber-chaos") is not None:
        _suite(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the hooks out."""
    suite = config.stash.get(SUITE, None)
    if suite is not None:
        suite.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hook the libraries as soon as one test is to be watched."""
    if any(_asks(item) for item in items):
        _suite(config)


def _asks(item: pytest.Item) -> bool:
    return item.get_closest_marker("noclobber") is not None or "noclobber" in getattr(item, "fixturenames", ())


def _suite(config: pytest.Config) -> "Suite | None":
    if os.environ.get("NOCLOBBER_DISABLED", "").strip().lower() in ("1", "true", "yes", "on"):
        return None
    if SUITE not in config.stash and (hasattr(config, "workerinput") or config.getoption("dist", "no") == "no"):
        try:
            from noclobber_analyzer.suite import Suite
        except ModuleNotFoundError as error:
            message = f"noclobber's plugin needs the package '{error.name}': pip install 'noclobber[pytest]'"
            raise pytest.UsageError(message) from error
        config.stash[SUITE] = Suite(config.option, config.rootpath, getattr(config, "workeroutput", None))
    return config.stash.get(SUITE, None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch from the first fixture on."""
    suite = item.config.stash.get(SUITE, None)
    if suite is None or not (suite.everything or _asks(item)) or not suite.wants(item):
        return (yield)
    with suite.watching() as watched:
        item.stash[WATCHED] = watched
        try:
            return (yield)
        finally:
            del item.stash[WATCHED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge as soon as the test itself has run."""
    watched, suite = item.stash.get(WATCHED, None), item.config.stash.get(SUITE, None)
    if watched is None or suite is None:
        return (yield)
    try:
        with suite.pacing(watched, item):
            result = yield
    except BaseException:
        found = suite.failing(watched, item)
        if found:
            item.add_report_section("call", "noclobber", found)
        raise
    found = suite.failing(watched, item)
    if found:
        pytest.fail(found, pytrace=False)
    return result


@pytest.fixture
def noclobber(request: pytest.FixtureRequest) -> "Watched":
    """What this test has done so far: `accesses`, `findings(latent=False)`."""
    watched = request.node.stash.get(WATCHED, None)
    if watched is None:
        pytest.skip("noclobber does not watch this test (marked `enabled=False`)")
    return watched  # type: ignore[no-any-return]  # of the stash


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of xdist has found comes to the controller."""
    told = getattr(node, "workeroutput", {}).get("noclobber")
    if told:
        nothing: dict[str, dict[str, object]] = {}
        known = node.config.stash.setdefault(FROM_WORKERS, nothing)
        known.update(told["found"])
        counts = node.config.stash.setdefault(COUNTS, [0, 0, 0])
        counts[:] = [one + other for one, other in zip(counts, told["counts"], strict=True)]


FROM_WORKERS: pytest.StashKey[dict[str, dict[str, object]]] = pytest.StashKey()
COUNTS: pytest.StashKey[list[int]] = pytest.StashKey()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the baseline, where that was asked for."""
    config = session.config
    path: Path | None = config.getoption("--noclobber-baseline")
    if path is None or not config.getoption("--noclobber-update-baseline") or hasattr(config, "workerinput"):
        return
    from noclobber_analyzer.baseline import baseline_text

    suite = config.stash.get(SUITE, None)
    found = dict(suite.found) if suite is not None else {}
    if FROM_WORKERS in config.stash:
        told: dict[str, dict[str, object]] = config.stash[FROM_WORKERS]
        found.update(told)
    path.write_text(baseline_text(found))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line: what was watched."""
    suite = config.stash.get(SUITE, None)
    counts = config.stash.get(COUNTS, None) or (suite.counts if suite is not None else None)
    if counts and counts[0]:
        terminalreporter.write_line(
            f"noclobber: {counts[0]} tests watched, {counts[1]} accesses, {counts[2]} tests with new findings"
        )
