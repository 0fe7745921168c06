"""Fault test 16: secrets and personal data in values leave no agent: not in spans, spools, store, logs or alerts.

Agents write 320 samples (keys, tokens, cards, mails, ...) and race on every one of them, so that findings and alerts
tell of accesses that carried each. Everything that is written anywhere is searched for each sample in every plain
encoding. Which hashes without a key might stand for one is searched by `tests/conformance/test_secrets.py`.
"""

import base64
import json
import os
import random
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from broker_stage import port
from planted import _forms
from processes import Up, wait_until
from receivers import Receiver, receiving
from results import write_result

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("keepers.py")
EACH: Final = 20
RAW: Final = frozenset({"plain", "reversed", "UTF-16", "JSON", "URL-encoded", " hex", " HEX", " base64"})
TABLES: Final = ("accesses", "findings", "transitions", "deliveries", "defended", "cursors", "otel_traces")


def samples(seed: int = 16) -> list[str]:
    """Twenty of each sort, seeded."""
    dice = random.Random(seed)

    def some(letters: str, length: int) -> str:
        return "".join(dice.choice(letters) for _ in range(length))

    def jwt() -> str:
        parts = ({"alg": "HS256"}, {"sub": some(string.digits, 12)})
        coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*coded, some(word, 43)])

    def card() -> str:
        digits = "4" + some(string.digits, 14)
        total = sum(sum(divmod(int(d) * (2 if at % 2 == 0 else 1), 10)) for at, d in enumerate(digits))
        return digits + str(-total % 10)

    word, name = string.ascii_letters + string.digits, lambda: some(string.ascii_lowercase, 9)
    sorts: tuple[Callable[[], str], ...] = (
        lambda: "sk-" + some(word, 48), lambda: "AKIA" + some(string.ascii_uppercase + string.digits, 16),
        lambda: some(word + "+/", 40), lambda: "ghp_" + some(word, 36), lambda: "xoxb-" + some(string.digits, 24),
        jwt, card, lambda: f"{name()}.{name()}@{name()}.example", lambda: "DE" + some(string.digits, 20),
        lambda: "+49" + some(string.digits, 11), lambda: f"postgresql://{name()}:{some(word, 16)}@db/{name()}",
        lambda: "-----BEGIN PRIVATE KEY-----\n" + some(word + "+/", 64), lambda: some(word + "!#$%&*", 20),
        lambda: f"{name().title()} {name().title()}, {some(string.digits, 3)} {name().title()} Street",
        lambda: f"{some(string.digits, 3)}-{some(string.digits, 2)}-{some(string.digits, 4)}-{some(word, 6)}",
        lambda: "Bearer " + some(word, 32),
    )  # fmt: skip
    return [sort() for sort in sorts for _ in range(EACH)]


def found(places: dict[str, bytes], secrets: list[str]) -> list[tuple[str, str]]:
    """Where a sample stands in some plain encoding: the place and the encoding."""
    return [
        (place, how)
        for place, data in places.items()
        for secret in secrets
        for how, form in _forms_of(secret)
        if form in data
    ]


def _forms_of(secret: str) -> Iterator[tuple[str, bytes]]:
    for how, form in _forms(secret):
        if how not in RAW:
            return  # hashes come last
        yield how, form


def _files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint that keeps every alert."""
    with receiving() as started:
        yield started()


def run(folder: Path, secrets: list[str], endpoint: str) -> dict[str, bytes]:
    """Run the agents; returns what they left: spans, client spool, output."""
    folder.mkdir()
    notes, spans, spool = folder / "notes.json", folder / "spans.jsonl", folder / "spool"
    notes.write_text(json.dumps(secrets))
    words = [sys.executable, "-m", "noclobber.cli", "run", "--file", str(spans), "--", sys.executable, str(PROGRAM)]
    environment = {
        **os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "NOCLOBBER_SPOOL": str(spool), "NOCLOBBER_RERAISE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*words, str(folder / "cache"), str(notes)], capture_output=True, timeout=200, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    assert done.stdout.split() == [str(len(secrets)).encode()]
    return {"spans": spans.read_bytes(), "output": done.stderr, **(_files(spool) if spool.exists() else {})}


def test_no_value_leaves_an_agent(tmp_path: Path, receiver: Receiver) -> None:
    """320 samples, raced on: none in spans, spools, store, logs or alerts, though each resource has its finding."""
    secrets = samples()
    assert len(set(secrets)) == len(secrets) == 320
    places = {f"away: {name}": data for name, data in
              run(tmp_path / "away", secrets, f"http://127.0.0.1:{port()}").items()}  # fmt: skip
    assert any("spool" not in name and name not in ("away: spans", "away: output") for name in places)
    file = tmp_path / "noclobber.toml"
    routes = [
        f'[[alert]]\nname = "{style}"\nformat = "{style}"\nurl = "http://127.0.0.1:{receiver.port}/"\n'
        f'secret = "{receiver.secret}"\nallow = ["127.0.0.0/8"]\n'
        for style in ("standard", "slack", "alertmanager", "teams", "discord", "cloudevents")
    ]
    file.write_text("\n".join(routes))
    with Up(tmp_path / "up", "--config", str(file)) as up:
        up.wait_until_ready()
        places |= {f"there: {name}": data for name, data in run(tmp_path / "there", secrets, up.http).items()}
        count = "SELECT uniqExact(resource) FROM findings WHERE kind = 'lost_update'"
        wait_until(lambda: int(up.rows(count)[0][0]) >= 0.95 * len(secrets), 120, "a finding for each note")
        wait_until(lambda: len({each["headers"]["webhook-id"] for each in receiver.requests}) >= 6, 60, "the alerts")
        told = int(up.rows(count)[0][0])
        for table in TABLES:
            places[f"table {table}"] = repr(up.rows(f"SELECT * FROM {table}")).encode()
        places["alerts"] = b"\n".join(each["body"] for each in receiver.requests)
    spooled = {f"up: {name}": data for name, data in _files(tmp_path / "up").items()}
    places |= spooled
    assert found({"planted": " ".join(secrets).encode()}, secrets[:3])  # the search finds
    assert found(places, secrets) == []
    size = sum(map(len, places.values()))
    print(f"\n{len(secrets)} samples, {told} with a finding, {len(receiver.requests)} alerts")
    print(f"none of them in {len(places)} places, {size:,} bytes")
    write_result("secrets", {"samples": len(secrets), "with_a_finding": told, "alerts": len(receiver.requests),
                             "places": len(places), "bytes": size, "found": 0})  # fmt: skip
