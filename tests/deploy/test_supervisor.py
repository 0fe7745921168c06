"""The supervisor: restarts with growing pauses, gives up where told, ends children in order, leaves nobody behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import psutil
import pytest
from processes import wait_until

from noclobber.cli import CommandError
from noclobber_sidecar import supervisor as module
from noclobber_sidecar.reason_page import answering
from noclobber_sidecar.sockets import bind, free_port, in_url
from noclobber_sidecar.supervisor import EXIT_HOPELESS, Child, Supervisor


def child(name: str, program: str, **options: object) -> Child:
    """A child that runs a few lines of Python."""
    return Child(name, [sys.executable, "-c", program, "{life}"], **options)  # type: ignore[arg-type]


def supervise(children: list[Child], until: Callable[[], object], **options: object) -> tuple[int, list[str]]:
    """Run a supervisor in this process until a condition holds; its exit code and what it said."""
    said: list[str] = []
    made = Supervisor(children, say=said.append, **options)  # type: ignore[arg-type]
    deadline = time.monotonic() + 20

    def poll() -> None:
        if until() or time.monotonic() > deadline:
            made.stop()

    code = made.run(poll)
    assert time.monotonic() < deadline, said
    return code, said


def test_children_end_in_the_order_given(tmp_path: Path) -> None:
    """The first has ended before the second is told to."""
    program = (
        "import signal, sys, time, pathlib\n"
        f"log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        "def end(*_):\n"
        "    time.sleep(0.1); log.open('a').write(NAME + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path(str(log) + NAME).touch(); time.sleep(60)\n"
    )
    children = [child(name, f"NAME = {name!r}\n{program}") for name in ("receiver", "engine")]
    code, said = supervise(children, lambda: all((tmp_path / f"log{c.name}").exists() for c in children))
    assert ((tmp_path / "log").read_text(), code, said) == ("receiver engine ", 0, [])


def test_a_child_that_ends_is_started_again_after_a_pause_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the person is told each time, with the signal or the code."""
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 0.05)
    failing = child("engine", "raise SystemExit(3)")
    failing.pause_s = 0.05
    _, said = supervise([failing], lambda: failing.restarts == 3)
    assert [line.partition("ended ")[2] for line in said] == [
        f"(exit code 3); starting it again in {pause} s" for pause in ("0.1", "0.1", "0.2")
    ]


def test_a_killed_child_is_named_by_its_signal() -> None:
    """The others go on."""
    victim, other = child("engine", "import time; time.sleep(60)"), child("receiver", "import time; time.sleep(60)")

    def kill_once() -> bool:
        if victim.process is not None and victim.restarts == 0 and victim.alive:
            os.kill(victim.process.pid, signal.SIGKILL)
        return victim.restarts == 1 and victim.alive

    _, said = supervise([other, victim], kill_once)
    assert "killed by SIGKILL" in said[0]
    assert other.restarts == 0


def test_a_hopeless_child_is_left_down_with_its_reason(tmp_path: Path) -> None:
    """It is told once, and not started again."""
    reason = tmp_path / "reason"
    program = (
        f"import pathlib; pathlib.Path({str(reason)!r}).write_text('too new\\n'); raise SystemExit({EXIT_HOPELESS})"
    )
    engine, receiver = child("engine", program, reason_file=reason), child("receiver", "import time; time.sleep(60)")
    told: list[Child] = []
    turns = iter(range(1_000))
    _, said = supervise(
        [receiver, engine], lambda: engine.hopeless is not None and next(turns) > 10, on_hopeless=told.append
    )
    assert (engine.hopeless, told, said) == ("too new", [engine], ["noclobber: the engine can't run: too new"])
    assert engine.restarts == 0


def test_a_child_that_does_not_end_is_killed() -> None:
    """After its time, and the exit code says so."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    stubborn = child("engine", program, stop_timeout_s=0.3)
    begun: list[float] = []

    def ready() -> bool:
        if stubborn.alive and not begun:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] > 0.5  # its handler is in place by then

    code, said = supervise([stubborn], ready)
    assert (code, "did not end" in said[0], stubborn.alive) == (1, True, False)


def test_children_of_a_killed_supervisor_end_by_themselves(tmp_path: Path) -> None:
    """The pipe that only the supervisor holds closes."""
    program = (
        "import sys; from noclobber_sidecar.supervisor import Child, Supervisor\n"
        "program = 'import os, sys; os.write(1, b\"%d\\\\n\" % os.getpid()); os.read(int(sys.argv[1]), 1)'\n"
        "Supervisor([Child(n, [sys.executable, '-c', program, '{life}']) for n in ('a', 'b')]).run()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            lines = (line.strip() for line in parent.stdout)
            numbers = list(islice((int(line) for line in lines if line.isdigit()), 2))
        finally:
            parent.kill()
            parent.wait()
        assert len(numbers) == 2
        wait_until(lambda: not any(_runs(number) for number in numbers), what="the end of the children")


def _runs(number: int) -> bool:
    """Whether a process is alive; one that has ended and that nobody has asked after yet is not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- sockets and the page that says why ----------------------------------------------------------------------------


def test_a_taken_port_names_the_option() -> None:
    """One sentence, and which option changes it."""
    with bind("127.0.0.1", 0, "otlp http") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CommandError, match=rf"can't listen on 127.0.0.1:{port} .*choose another with --otlp-http-port"
        ):
            bind("127.0.0.1", port, "otlp http")
        assert free_port("127.0.0.1", port) != port
    assert free_port("127.0.0.1", port) == port


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70_000), ("no such host", 0)])
def test_an_address_that_is_not_ours(host: str, port: int) -> None:
    """Also one sentence."""
    with pytest.raises(CommandError, match=r"can't listen on .*Check --host and --dashboard-port"):
        bind(host, port, "dashboard")


def test_a_socket_is_inherited() -> None:
    """A child that is started again gets the same one."""
    with bind("127.0.0.1", 0, "dashboard") as made:
        assert made.get_inheritable()


def test_addresses_in_urls() -> None:
    """What listens everywhere is reached on loopback."""
    assert [in_url(host) for host in ("127.0.0.1", "::1", "0.0.0.0", "::", "box")] == [
        "127.0.0.1", "[::1]", "127.0.0.1", "[::1]", "box",
    ]  # fmt: skip


def test_the_reason_page_answers_and_gives_the_socket_back() -> None:
    """503 with the newest reason; afterwards the socket still listens."""
    from processes import ask

    why = ["first"]
    with bind("127.0.0.1", 0, "dashboard") as pages:
        url = f"http://127.0.0.1:{pages.getsockname()[1]}/"
        with answering(pages, lambda: why[0]):
            first = ask(url)
            why[0] = "second"
            assert (first.status, first.body, ask(url).body) == (503, b"first\n", b"second\n")
        with socket.create_connection(pages.getsockname()[:2], timeout=5):
            assert pages.accept()[0].close() is None
    assert not any(thread.name == "reason" and thread.is_alive() for thread in threading.enumerate())
