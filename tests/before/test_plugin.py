"""The plugin for pytest: a race fails its test and nobody else's, with asyncio, anyio, threads and xdist."""

import json
import re

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import asyncio, sqlite3, threading, time
import anyio
import pytest
from noclobber import tracked

def racing(shared):
    read = threading.Barrier(2)
    def work():
        value = shared["x"]
        read.wait(10)
        shared["x"] = value + 1
    threads = [threading.Thread(target=work) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

@pytest.mark.noclobber
def test_threads():
    racing(tracked({"x": 0}, name="plan"))

@pytest.mark.noclobber
def test_one_strand():
    shared = tracked({"x": 0}, name="plan")
    shared["x"] = shared["x"] + 1

def test_not_asked():
    racing(tracked({"x": 0}, name="plan"))

@pytest.mark.noclobber(enabled=False)
def test_switched_off():
    racing(tracked({"x": 0}, name="plan"))

@pytest.mark.noclobber(kinds=["fork"])
def test_other_kinds():
    racing(tracked({"x": 0}, name="plan"))

def one_after_the_other(shared):
    def work():
        shared["x"] = shared["x"] + 1
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    [thread.join() for thread in threads]

@pytest.mark.noclobber
def test_luck_is_no_matter():
    one_after_the_other(tracked({"x": 0}, name="plan"))

@pytest.mark.noclobber(latent=True)
def test_luck():
    one_after_the_other(tracked({"x": 0}, name="plan"))

@pytest.mark.noclobber
async def test_asyncio():
    shared = tracked({"x": 0}, name="plan")
    async def work():
        value = shared["x"]
        await asyncio.sleep(0)
        shared["x"] = value + 1
    await asyncio.gather(work(), work())

@pytest.mark.noclobber
def test_anyio():
    shared = tracked({"x": 0}, name="plan")
    async def work():
        value = shared["x"]
        await anyio.sleep(0)
        shared["x"] = value + 1
    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(work)
    anyio.run(main)

def test_sqlite_across_connections(noclobber, tmp_path):
    one, other = (sqlite3.connect(tmp_path / "a.db", isolation_level=None) for _ in range(2))
    one.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    one.execute("INSERT INTO t VALUES (1, 5)")
    read = threading.Barrier(2)
    def work():
        mine = sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=10)
        (n,) = mine.execute("SELECT n FROM t WHERE id = 1").fetchone()
        read.wait(10)
        mine.execute("UPDATE t SET n = ? WHERE id = 1", (n + threading.get_native_id(),))
        mine.close()
    threads = [threading.Thread(target=work) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    one.close(), other.close()
    assert [str(finding.kind) for finding in noclobber.findings()] == ["lost_update"]
    assert noclobber.accesses >= 4
"""
RACING = {"test_threads", "test_luck", "test_asyncio", "test_anyio", "test_sqlite_across_connections"}
OPTIONS = (
    "-p",
    "noclobber",
    "-p",
    "asyncio",
    "-p",
    "no:cacheprovider",
    "-o",
    "asyncio_mode=auto",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
)


def failed(result: pytest.RunResult) -> set[str]:
    """Names of the tests that failed."""
    return set(re.findall(r"^FAILED .*::(\w+)", result.stdout.str(), re.MULTILINE))


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that a test names: all that is installed here would take seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with one suite of tests."""
    pytester.makepyfile(test_suite=SUITE)
    return pytester


def test_a_race_fails_its_test(suite: pytest.Pytester) -> None:
    """Those that race and ask, no others; sentence, witness and fix are printed."""
    result = suite.runpytest_subprocess(*OPTIONS)
    assert failed(result) == RACING
    said = result.stdout.str()
    assert "LOST UPDATE  certain, high" in said
    assert "overwriter " in said
    assert "fix: Hold one lock from the read to the write" in said
    assert "noclobber: 8 tests watched" in said
    assert "Traceback" not in said


@pytest.mark.long
def test_known_findings_fail_nothing(suite: pytest.Pytester) -> None:
    """A baseline, written by two workers, knows its findings after every line has moved; a new race still fails."""
    wanted = ("--noclobber-baseline=known.json", *OPTIONS)
    written = suite.runpytest_subprocess("--noclobber-update-baseline", "-p", "xdist", "-n", "2", *wanted)
    assert failed(written) == set()
    known = json.loads((suite.path / "known.json").read_text())["known"]
    assert {entry["kind"] for entry in known.values()} == {"lost_update"}
    suite.makepyfile(test_suite="# one more line\n\n\n" + SUITE.replace("def test_one_strand", "def test_alone"))
    assert failed(suite.runpytest_subprocess("-p", "xdist", "-n", "2", *wanted)) == set()
    new = SUITE.replace("def work", "def another")
    suite.makepyfile(test_suite=new.replace("target=work", "target=another").replace("work()", "another()"))
    assert "test_threads" in failed(suite.runpytest_subprocess(*wanted))


def test_a_whole_suite_under_chaos(pytester: pytest.Pytester) -> None:
    """No mark is needed; strands are held, and the seed is named where a test fails."""
    pytester.makepyfile(
        test_lucky="""
        import threading, time
        from noclobber import tracked

        def test_agents():
            shared = tracked({"x": 0}, name="plan")
            def work():
                shared["x"] = shared["x"] + 1
            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
                time.sleep(0.005)
            for thread in threads:
                thread.join()
        """
    )
    result = pytester.runpytest_subprocess("--noclobber", *OPTIONS)
    assert failed(result) == set()
    result = pytester.runpytest_subprocess("--noclobber-chaos=5", *OPTIONS)
    assert failed(result) == {"test_agents"}
    assert "chaos: --noclobber-chaos=5" in result.stdout.str()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--noclobber", "--noclobber-fail-on=dreadful"), "'dreadful' is not a valid Severity"),
        (("--noclobber", "--noclobber-baseline=none.json"), "there is no baseline none.json"),
        (("--noclobber-chaos=none.toml",), "none.toml can't be read"),
    ],
)
def test_mistakes_are_told(
    pytester: pytest.Pytester, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence."""
    result = pytester.runpytest_inprocess(*options, *OPTIONS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str() + result.stdout.str() + capsys.readouterr().err
