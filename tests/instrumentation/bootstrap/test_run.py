"""`noclobber run` in real processes: the program is its own in every way but that its accesses are recorded."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from spans_in_file import accesses_of, spans_of

from noclobber.contract import FRONTIER_END

READ = "from noclobber import access\nwith access('x://a', 'read'): pass\n"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Ours without anything of noclobber's, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOCLOBBER", "OTEL", "XDG"))}
    return {**kept, "HOME": str(home), **more}


def noclobber(home: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    env = environment(home, **more.pop("env", {}))
    command = [sys.executable, "-m", "noclobber", "run", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "agent.py"
    path.write_text(text)
    return str(path)


def test_streams_arguments_and_exit_code_are_the_programs_own(tmp_path: Path, out: Path) -> None:
    """Standard input goes in, output comes out byte for byte, and it exits as it wants to."""
    text = (
        "import sys\nsys.stdout.write(sys.stdin.read() + ' '.join(sys.argv[1:]))\nsys.stderr.write('err')\nsys.exit(7)"
    )
    done = noclobber(
        tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text), "-x", "--file", "y",
        input="in ",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, "in -x --file y", "err")


def test_what_is_recorded_and_the_last_mark(tmp_path: Path, out: Path) -> None:
    """The program's accesses, its names, and a last mark that counts them."""
    done = noclobber(
        tmp_path, "--agent", "planner", "--file", str(out), "--file-only", "--", sys.executable,
        program(tmp_path, READ * 3),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    reads = accesses_of(out)
    assert [(r["noclobber.agent"], r["service.name"], r["noclobber.seq"]) for r in reads] == [
        ("planner", "planner", number) for number in (1, 2, 3)
    ]
    last = spans_of(out)[-1]
    assert (last["noclobber.frontier_ns"], last["noclobber.accesses"]) == (FRONTIER_END, 3)


def test_the_service_is_named_after_the_script(tmp_path: Path, out: Path) -> None:
    """Where nobody named it."""
    noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, READ))
    assert accesses_of(out)[0]["service.name"] == "agent"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program(tmp_path: Path, out: Path, number: signal.Signals) -> None:
    """The process is the program: it gets its signals, and dies of them as ever."""
    text = READ + "import time, sys\nprint('up', flush=True)\ntime.sleep(30)"
    command = ["--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text)]
    process = subprocess.Popen(
        [sys.executable, "-m", "noclobber", "run", *command],
        env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(20) == -number


def test_a_terminated_process_hands_everything_over(tmp_path: Path, out: Path) -> None:
    """A program that does not know of SIGTERM dies of it, and its last accesses arrive, each once, with a last mark."""
    text = READ * 50 + "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)"
    start = time.monotonic()
    done = noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text))
    assert done.returncode == -signal.SIGTERM
    assert time.monotonic() - start < 10
    assert sorted(span["noclobber.seq"] for span in accesses_of(out)) == list(range(1, 51))
    assert FRONTIER_END in [span.get("noclobber.frontier_ns") for span in spans_of(out)]


@pytest.mark.parametrize("handler", ["lambda *_: sys.exit(3)", "signal.SIG_IGN", "signal.SIG_DFL"])
def test_a_programs_own_answer_to_sigterm_holds(tmp_path: Path, out: Path, handler: str) -> None:
    """Whatever it sets is what happens."""
    text = (
        READ + f"import os, signal, sys, time\nsignal.signal(signal.SIGTERM, {handler})\n"
        "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.1)\nprint('alive')"
    )
    done = noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text))
    expected = {"signal.SIG_IGN": (0, "alive\n"), "signal.SIG_DFL": (-signal.SIGTERM, "")}.get(handler, (3, ""))
    assert (done.returncode, done.stdout) == expected


def test_a_killed_process_leaves_no_last_mark(tmp_path: Path, out: Path) -> None:
    """What was acknowledged stays; nobody claims that nothing more came."""
    text = READ + "import os, signal, time\ntime.sleep(0.6)\nos.kill(os.getpid(), signal.SIGKILL)"
    done = noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text))
    assert done.returncode == -signal.SIGKILL
    spans = spans_of(out)
    marks = [span["noclobber.frontier_ns"] for span in spans if span["noclobber.op"] == "mark"]
    assert (len(accesses_of(out)), bool(marks), FRONTIER_END in marks) == (1, True, False)


def test_child_processes_are_instrumented(tmp_path: Path, out: Path) -> None:
    """What the program starts is recorded too, each process under its own id."""
    text = READ + f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {READ!r}], check=True)"
    noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text))
    reads = accesses_of(out)
    assert (len(reads), len({r["noclobber.process"] for r in reads})) == (2, 2)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing_are_instrumented(tmp_path: Path, out: Path, method: str) -> None:
    """However they are started, their accesses and their last marks arrive."""
    text = f"""
import multiprocessing
def work():
    from noclobber import access
    with access('x://child', 'read'): pass
if __name__ == '__main__':
    child = multiprocessing.get_context({method!r}).Process(target=work)
    child.start(); child.join(); assert child.exitcode == 0
"""
    done = noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text))
    assert (done.returncode, done.stderr) == (0, "")
    spans = spans_of(out)
    (read,) = accesses_of(out)
    last = [s for s in spans if s.get("noclobber.frontier_ns") == FRONTIER_END]
    assert read["noclobber.process"] in {s["noclobber.process"] for s in last}


def test_a_fork_while_the_drain_imports(tmp_path: Path, out: Path) -> None:
    """The child does not inherit half a module: its access arrives too."""
    text = """
import importlib.abc, importlib.machinery, os, sys, threading
begun = threading.Event()
class Slowly(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "noclobber.sinks":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def slowly(module):
            begun.set()
            threading.Event().wait(0.3)
            run(module)
        spec.loader.exec_module = slowly
        return spec
sys.meta_path.insert(0, Slowly())
assert "noclobber.sinks" not in sys.modules
from noclobber import access, recorder
with access('x://parent', 'read'): pass
recorder.active()._wake.set()
assert begun.wait(10)
pid = os.fork()
with access('x://child' if pid == 0 else 'x://parent', 'read'): pass
if pid: assert os.waitpid(pid, 0)[1] == 0
"""
    quiet = ("-W", "ignore:This process")  # since 3.12 Python warns whoever forks beside threads
    done = noclobber(tmp_path, "--file", str(out), "--file-only", "--", sys.executable, *quiet, program(tmp_path, text))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(each["noclobber.resource"] for each in accesses_of(out)) == ["x://child", "x://parent", "x://parent"]


def test_disabled_installs_nothing(tmp_path: Path, out: Path) -> None:
    """The switch in the environment leaves the program as it is: nothing of the recorder is even imported."""
    text = (
        "import sys, redis\nprint('noclobber.recorder' in sys.modules, redis.Redis.execute_command.__module__)\n" + READ
    )
    done = noclobber(
        tmp_path, "--file", str(out), "--", sys.executable, program(tmp_path, text), env={"NOCLOBBER_DISABLED": "1"}
    )
    assert (done.returncode, done.stdout, out.exists()) == (0, "False redis.client\n", False)


def test_another_sitecustomize_is_chained(tmp_path: Path, out: Path) -> None:
    """The one that Python would have loaded is loaded, and is the module of that name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os\nos.environ['CHAINED'] = __file__")
    text = "import os, sys\nprint(os.environ['CHAINED'] == sys.modules['sitecustomize'].__file__)"
    path = os.pathsep.join((str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")))
    done = noclobber(
        tmp_path, "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text),
        env={"PYTHONPATH": path},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_redis_in_a_program_without_a_line_about_it(tmp_path: Path, out: Path, valkey: str, client: object) -> None:
    """A program that imports redis is captured, under the library's scope."""
    text = f"import redis\nc = redis.Redis.from_url({valkey!r})\nprint(c.set('k', 'v'), c.get('k'))"
    done = noclobber(
        tmp_path, "--exact", "--file", str(out), "--file-only", "--", sys.executable, program(tmp_path, text)
    )
    assert (done.stdout, done.stderr) == ("True b'v'\n", "")
    write, read = accesses_of(out)
    assert (write["scope"], write["noclobber.op"], read["noclobber.op"]) == ("noclobber.redis", "write", "read")
    assert write["noclobber.version.overwritten"] == "absent"


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
def test_an_unreachable_collector_changes_nothing_but_a_bounded_end(tmp_path: Path, listening: bool) -> None:
    """Refused connections cost no time; a collector that never answers costs the bound at the end, no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listening:
            server.close()
        text = "import time\nstart = time.monotonic()\n" + READ * 100 + "print(time.monotonic() - start)"
        start = time.monotonic()
        done = noclobber(
            tmp_path, "--endpoint", f"http://127.0.0.1:{port}", "--", sys.executable, program(tmp_path, text),
            env={"NOCLOBBER_SHUTDOWN_TIMEOUT_S": "1"},
        )  # fmt: skip
        took = time.monotonic() - start
    assert (done.returncode, float(done.stdout) < 1.0) == (0, True)
    assert took < 5.0
    assert "Traceback" not in done.stderr
    spool = tmp_path / ".local" / "state" / "noclobber" / "spool"
    assert list(spool.glob("*.otlp"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which program?"),
        (["--"], "which program?"),
        (["--", "no-such-program"], "there is no program 'no-such-program'"),
        (["--file-only", "--", "python"], "--file-only needs --file"),
        (["--config", "none.toml", "--", "python"], "no configuration file none.toml"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, words: list[str], message: str) -> None:
    """Exit code 2 and what to do, without a traceback."""
    done = noclobber(tmp_path, *words)
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_broken_configuration_is_said_and_the_program_runs(tmp_path: Path, out: Path) -> None:
    """Declarations that can't be understood are left out with a reason."""
    config = tmp_path / "noclobber.toml"
    config.write_text(
        '[[resource]]\npattern = "x://*"\npolicy = "perhaps"\n[[resource]]\npattern = "x://a"\nclosed = true'
    )
    done = noclobber(
        tmp_path, "--config", str(config), "--file", str(out), "--file-only", "--", sys.executable,
        program(tmp_path, READ),
    )  # fmt: skip
    assert done.returncode == 0
    assert "there is no policy 'perhaps'" in done.stderr
    assert accesses_of(out)[0]["noclobber.closed"] is True
