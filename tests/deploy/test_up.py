"""`noclobber up` as a person meets it: what it refuses and how, what goes on while a part is down."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from made import accesses
from processes import Process, Up, ask, free_ports, wait_until
from races import requests_of_races

from noclobber.cli import CommandError
from noclobber_collector.commands import check_bind
from noclobber_collector.lock import holder
from noclobber_collector.segments import closed_segments

SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def typed(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `noclobber` with these words to its end."""
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def assert_refused(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    """Exit code 2, one sentence, no traceback."""
    assert done.returncode == 2, done.stderr
    assert all(text in done.stderr for text in texts), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "::1234", "192.0.2.1", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_a_wide_bind_needs_a_token(host: str) -> None:
    """Also where the name only looks like this machine."""
    with pytest.raises(CommandError, match="set --token"):
        check_bind(host, None, forced=False)
    check_bind(host, "secret", forced=False)
    check_bind(host, None, forced=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_this_machine_needs_none(host: str) -> None:
    """The default asks nothing."""
    check_bind(host, None, forced=False)


def test_mistakes_are_found_before_anything_starts(tmp_path: Path) -> None:
    """Each is one sentence that says what to do."""
    data = ("--data", str(tmp_path / "data"))
    (tmp_path / "bad.toml").write_text("[[alert]\n")
    (tmp_path / "odd.toml").write_text('[[alert]]\nurl = "https://x.example"\ncolour = "red"\n')
    (tmp_path / "file").write_text("")
    assert_refused(typed("up", *data, "--host", "0.0.0.0", environment={"NOCLOBBER_TOKEN": ""}), "set --token")
    assert_refused(typed("up", *data, "--config", str(tmp_path / "no.toml")), "no.toml can't be read")
    assert_refused(typed("up", *data, "--config", str(tmp_path / "bad.toml")), "bad.toml: ")
    assert_refused(typed("up", *data, "--config", str(tmp_path / "odd.toml")), "colour")
    assert_refused(typed("up", *data, "--webhook", "nonsense"), "http:// or https://")
    assert_refused(typed("up", *data, "--allowed-host", "https://board.example"), "--allowed-host", "a name alone")
    assert_refused(typed("up", *data, "--dashboard-url", "board.example"), "--dashboard-url", "https://")
    assert_refused(typed("up", "--data", str(tmp_path / "file")), "can't be used")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_busy_port_is_named_with_its_option(tmp_path: Path, number: int) -> None:
    """For each of the three."""
    options = ("--otlp-grpc-port", "--otlp-http-port", "--dashboard-port")
    ports = free_ports(3)
    with socket.create_server(("127.0.0.1", ports[number])):
        words = [word for option, port in zip(options, ports, strict=True) for word in (option, str(port))]
        done = typed("up", "--data", str(tmp_path), *words)
    assert_refused(done, f"127.0.0.1:{ports[number]}", options[number])


def test_a_second_up_on_one_folder_names_the_first(tmp_path: Path) -> None:
    """Also while the engine of the first is still starting; it does not disturb the first."""
    with Up(tmp_path) as up:
        up.wait_for(f"{up.http}/ready")
        again = Up.words(up.data, free_ports(3))
        done = subprocess.run(again, capture_output=True, text=True, timeout=60, check=False)
        assert_refused(done, f"process {up.popen.pid}", up.pages)
        up.wait_until_ready()
        assert up.stop() == 0
    assert holder(up.data) is None


def test_an_unreachable_store_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    """The receiver acknowledges, the pages say why there is nothing, the spool keeps it all."""
    with Up(tmp_path, "--store", "http://127.0.0.1:1") as up:
        up.wait_for(f"{up.http}/ready")
        assert up.send(accesses(5).SerializeToString()).status == 200

        def says_why() -> bool:
            answer = ask(up.pages)
            return answer.status == 503 and b"does not answer: Connection refused" in answer.body

        wait_until(says_why, what="the reason")
        assert up.stop() == 0
        assert "Traceback" not in up.output
        assert up.output.count("waiting for the store") == 1
    assert sum(segment.spans for segment in closed_segments(up.data / "spool")) == 5
    with Up(tmp_path) as up:
        up.wait_until_ready()
        wait_until(lambda: up.rows("SELECT count() FROM accesses") == [(5,)], what="the load")


def test_a_store_of_a_newer_version_is_said_and_the_receiver_goes_on(tmp_path: Path) -> None:
    """The engine is not tried again; pages and doctor tell the reason."""
    program = (
        "import sys; from noclobber_collector.store import open_store; store = open_store(sys.argv[1])\n"
        "store.insert('schema_migrations', ('number', 'name'), [(9999, 'future')]); store.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, f"chdb://{tmp_path / 'data' / 'store'}"], check=True, timeout=60)
    with Up(tmp_path) as up:
        up.wait_for(f"{up.http}/ready")
        wait_until(lambda: "can't run" in up.output, what="the end of the engine")
        answer = ask(up.pages)
        assert (answer.status, b"newer noclobber" in answer.body) == (503, True)
        assert up.send(accesses(5).SerializeToString()).status == 200
        done = typed("doctor", "--data", str(up.data), "--format", "text")
        assert "the engine is not running: the store" in done.stdout
        assert "newer noclobber" in done.stdout
        assert up.stop() == 0


def test_sigterm_drains(tmp_path: Path) -> None:
    """All that was acknowledged is loaded when it has ended, within a few seconds."""
    with Up(tmp_path) as up:
        up.wait_until_ready()
        for _ in range(40):
            assert up.send(accesses(50).SerializeToString()).status == 200
        assert up.stop(30) == 0
        assert (closed_segments(up.data / "spool"), list((up.data / "spool").glob("*.open"))) == ([], [])
        loaded = closed_segments(up.data / "spool", loaded=True)
        assert sum(segment.spans for segment in loaded) == 2_000


def test_the_token_guards_every_listener(tmp_path: Path) -> None:
    """OTLP, the API, the store's route."""
    with Up(tmp_path, token="tok-secret") as up:
        up.wait_for(f"{up.http}/ready")
        wait_until(lambda: "dashboard and API on" in up.output, 40, what="the engine")
        for url in (f"{up.pages}/api/v1/health", f"{up.pages}/api/v1/store/?query=SELECT+1", up.pages):
            assert ask(url).status == 401
        assert ask(f"{up.pages}/api/v1/health", authorization="Bearer tok-secret").status == 200
        assert up.send(b"").status == 401
        done = typed("doctor", "--data", str(up.data), environment={"NOCLOBBER_TOKEN": "tok-secret",
                                                                    "NOCLOBBER_ENDPOINT": up.http})  # fmt: skip
        assert f"the collector at {up.http}/v1/traces takes spans" in done.stdout
        assert "is reached, schema" in done.stdout
        assert "tok-secret" not in up.output + done.stdout


def test_the_pages_are_served_under_their_public_names(tmp_path: Path) -> None:
    """Those that are typed, that of the public address, and no other; the socket opens for a page of theirs."""
    url = "https://board.example/"
    with Up(tmp_path, "--allowed-host", "inner.example", environment={"NOCLOBBER_DASHBOARD_URL": url}) as up:
        up.wait_until_ready()
        for host, status in (("board.example", 200), ("inner.example:8501", 200), ("evil.example", 400)):
            assert ask(f"{up.pages}/finding?id=x", host=host).status == status
            assert opened(up, host) == (101 if status == 200 else 403)
        assert "alerts link to" not in up.output
        assert up.stop() == 0


def opened(up: Up, host: str) -> int:
    """What the socket of the pages answers to a page of this host."""
    words = {"host": host, "origin": f"https://{host}", "connection": "Upgrade", "upgrade": "websocket",
             "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in words.items())
    with socket.create_connection(("127.0.0.1", up.ports[2]), timeout=10) as line:
        line.sendall(f"GET /_stcore/stream HTTP/1.1\r\n{head}\r\n".encode())
        return int(line.recv(4_096).split()[1])


@pytest.mark.parametrize("public", ["", "http://10.0.0.5:8501"])
def test_alerts_link_to_where_people_reach_the_pages(tmp_path: Path, public: str) -> None:
    """The row of an issue that opened, and that of its resolution by hand; a link to this machine is warned of."""
    words = ("--dashboard-url", public) if public else ()
    words += ("--webhook", "http://127.0.0.1:1", "--webhook-allow", "127.0.0.0/8", "--webhook-secret", SECRET)
    with Up(tmp_path, *words) as up:
        up.wait_until_ready()
        assert {up.send(each).status for each in requests_of_races(1)} == {200}
        wait_until(lambda: told(up, "issue.opened"), 40, what="the issue")
        ((issue, opening),) = told(up, "issue.opened")
        assert ask(f"{up.pages}/api/v1/issues/{issue}/resolve", b"{}").status == 200
        ((_, ending),) = told(up, "issue.resolved")
        assert opening.startswith(f"{public or up.pages}/finding?id=")
        assert ending == opening
        assert (f"alerts link to {up.pages}, which is the machine of whoever" in up.output) == (not public)
        assert up.stop() == 0


def told(up: Up, kind: str) -> list[tuple[str, str]]:
    """Issue and link of the rows of a kind."""
    rows = up.rows("SELECT issue, body FROM transitions WHERE kind = {kind:String}", {"kind": kind})
    return [(issue, json.loads(body)["data"]["url"]) for issue, body in rows]


def test_a_collector_alone_waits_for_its_server(tmp_path: Path) -> None:
    """It acknowledges meanwhile, says so once, and ends in order."""
    grpc, http = free_ports(2)
    words = [sys.executable, "-m", "noclobber.cli", "collector", "--store", "http://127.0.0.1:1",
             "--data", str(tmp_path), "--otlp-grpc-port", str(grpc), "--otlp-http-port", str(http)]  # fmt: skip
    with Process(words, tmp_path / "log") as collector:
        collector.wait_for(f"http://127.0.0.1:{http}/ready")
        url = f"http://127.0.0.1:{http}/v1/traces"
        assert ask(url, accesses(3).SerializeToString(), content_type="application/x-protobuf").status == 200
        wait_until(lambda: "kept in the spool meanwhile" in collector.output, what="the reason")
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert_refused(done, f"process {collector.popen.pid}")
        collector.popen.send_signal(signal.SIGTERM)
        collector.popen.wait(30)
    assert sum(segment.spans for segment in closed_segments(tmp_path / "spool")) == 3
