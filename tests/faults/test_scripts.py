"""Fault test 15: scripts, Markdown, SVG, formulas and terminal sequences as names, through all that is given out.

More than 200 names stand as agent, resource, service, step and code site of a race each. The command line, every form
of the API and every format of alerts give them out; in each the name stands word for word where the form can hold it,
and nowhere as something that is run, fetched or formatted. What the pages make of them is said by
`tests/browser/test_hostile.py`, over the same corpus.
"""

import csv
import io
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
from assembled import application
from hostile import CORPUS
from made import PROCESS, request
from starlette.testclient import TestClient

from noclobber.cli import main
from noclobber_analyzer.alerts.formats import Told, dressed
from noclobber_analyzer.alerts.routes import Format, route_from
from noclobber_analyzer.alerts.signing import new_secret
from noclobber_analyzer.report.text import plain
from noclobber_analyzer.tables import append_findings
from noclobber_dashboard.renditions import Form
from noclobber_dashboard.settings import DashboardSettings

START_NS = time.time_ns() - 600 * 10**9
"""Lately, since accesses expire."""
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
NAMES = [name for name in CORPUS if name.strip() and len(name) < 500]
CARRIED_EACH = 60
SENT = [Format.STANDARD, Format.ALERTMANAGER, Format.PAGERDUTY, Format.SLACK, Format.DISCORD, Format.TEAMS,
        Format.CLOUDEVENTS]  # fmt: skip


def race(number: int, name: str) -> list[dict[str, object]]:
    """Two agents read a counter and write it, the second over what it never saw."""
    common = {
        "noclobber.resource": f"redis://h:6379/0/{number}:{name}", "noclobber.system": "redis",
        "noclobber.outcome": "ok",
        "noclobber.version.kind": "counter", "noclobber.step": name, "noclobber.run": name, "code.function.name": name,
    }  # fmt: skip
    one, two = ({"noclobber.agent": f"{who}{name}", "noclobber.strand": f"{who}-{number}"} for who in ("", "x"))
    read = {"noclobber.op": "read", "noclobber.version.read": "1", "noclobber.seq": 1}
    write = {"noclobber.op": "write", "noclobber.version.base": "1", "noclobber.version.base.source": "explicit",
             "noclobber.seq": 2}  # fmt: skip
    return [
        {**common, **one, **read}, {**common, **two, **read},
        {**common, **one, **write, "noclobber.version.written": "2", "noclobber.version.overwritten": "1"},
        {**common, **two, **write, "noclobber.version.written": "3", "noclobber.version.overwritten": "2"},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the agents sent, as a file: each name's race by a service of that name."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(NAMES):
        process = {**PROCESS, "service.name": name, "noclobber.process": f"{number:016x}"}
        (folder / f"{number}.pb").write_bytes(request(race(number, name), process).SerializeToString())
    return folder


@pytest.fixture(scope="module")
def client(real_store: Any) -> Iterator[TestClient]:
    """The API over a store with a finding for each name."""
    made = [
        sample.race(number, f"redis://h:6379/0/{name}", (name, f"x{name}"), START_NS + number * sample.SECOND)
        for number, name in enumerate(NAMES)
    ]
    for _, rows in made:
        for row in rows:
            row |= {"run": row["agent"], "step": row["agent"], "code_function_name": row["agent"]}
    sample.insert_accesses(real_store, [row for _, rows in made for row in rows])
    append_findings(real_store, [(finding, finding.last_ns) for finding, _ in made])
    with TestClient(application(real_store, DashboardSettings()), base_url="http://127.0.0.1:8501") as asked:
        yield asked


def said(capsys: pytest.CaptureFixture[str], form: str, recorded: Path) -> str:
    capsys.readouterr()
    assert main(["check", "--format", form, str(recorded)]) == 1
    return capsys.readouterr().out


def test_the_corpus_is_large() -> None:
    """As many as the figure asks for, each once."""
    assert len(NAMES) >= 200
    assert len(set(NAMES)) == len(NAMES)


def test_the_terminal_obeys_no_name(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """No control character reaches it; each name stands there, what cannot be printed by its escape."""
    shown = said(capsys, "text", recorded)
    assert [sign for sign in set(shown) if not sign.isprintable() and sign != "\n"] == []
    unfolded = re.sub(r"\s+", "", shown)
    assert [name for name in NAMES if re.sub(r"\s+", "", plain(name)) not in unfolded] == []


def test_annotations_are_one_line_each(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """No name begins a command of its own on a line of the build's log."""
    lines = said(capsys, "github", recorded).splitlines()
    kinds = {line.split(" ")[0] for line in lines if line.startswith("::")}
    assert kinds <= {"::error", "::warning", "::notice"}
    assert len([line for line in lines if line.startswith("::")]) == len(NAMES)
    assert not [line for line in lines if re.match(r"::(set-output|stop-commands|add-mask)", line)]


def test_formats_for_programs_hold_every_name(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """JSON and SARIF give names back to the letter; JUnit is well-formed whatever they hold."""
    found = [json.loads(line) for line in said(capsys, "json", recorded).strip().split("\n")]
    agents = {agent for finding in found for agent in finding.get("agents", ())}
    assert {name for name in NAMES if name not in agents} == set()
    assert json.loads(said(capsys, "sarif", recorded))["runs"]
    assert len(ET.fromstring(said(capsys, "junit", recorded)).findall(".//testcase")) >= len(NAMES)


@pytest.mark.parametrize("name", ["findings", "accesses", "resources", "issues"])
def test_no_cell_is_a_formula(client: TestClient, name: str) -> None:
    """Each text of the CSV is the API's own, with one quote before it where a spreadsheet would compute it."""
    rows = client.get(f"/api/v1/{name}?limit=500").json()[name]
    table = list(
        csv.reader(io.StringIO(client.get(f"/api/v1/{name}?format=csv").content.decode("utf-8-sig"), newline=""))
    )
    cells = [cell for row in table[1:] for cell in row]
    assert len(table) - 1 >= len(rows) > 0
    assert [cell for cell in cells if FORMULA.match(cell) and not re.fullmatch(r"-?\d+(\.\d+)?", cell)] == []
    if name != "issues":
        column = {"findings": "resource", "accesses": "agent", "resources": "resource"}[name]
        at = table[0].index(column)
        given = {row[at] for row in table[1:]}
        whole = [f"redis://h:6379/0/{each}" if column == "resource" else each for each in NAMES]
        assert [each for each in whole if each not in given and f"'{each}" not in given] == []


def test_a_finding_is_carried_away_unharmed(client: TestClient) -> None:
    """Every form: JSON to the letter, the rest without a control character (`test_renditions` has all names)."""
    for number, name in list(enumerate(NAMES))[::CARRIED_EACH]:
        for form in Form:
            answer = client.get(f"/api/v1/findings/{number + 1:032x}/export?form={form}")
            assert answer.status_code == 200
            assert "attachment" in answer.headers["content-disposition"]
            if form is Form.JSON:
                assert answer.json()["agents"][0] == name
            else:
                text = answer.content.decode()
                assert [sign for sign in set(text) if not sign.isprintable() and sign != "\n"] == [], (form, name)


@pytest.mark.parametrize("style", SENT)
def test_no_alert_formats_a_name(style: Format) -> None:
    """Each is JSON; chats get a name as plain text or escaped, never as their markup."""
    extra = {Format.STANDARD: {"secret": new_secret()}, Format.PAGERDUTY: {"routing_key": "k" * 32}}.get(style, {})
    route = route_from({"name": "ops", "url": "https://hooks.example/t", "format": str(style), **extra})
    for name in NAMES:
        data = {"issue": "i", "kind": "lost_update", "severity": "high", "certainty": "certain", "title": name,
                "agents": [name], "resources": [f"redis://h:6379/0/{name}"], "url": "https://n.example/finding?id=f",
                "newest": {"explanation": name, "advice": {"text": name, "code": name}}}  # fmt: skip
        body = json.loads(dressed(route, Told("msg_1", "issue.opened", START_NS, data)))
        shown = list(texts(body))
        if style is Format.SLACK:
            assert "mrkdwn" not in shown
            assert not re.search(r"<[!@#]|<http", body["text"])
        elif style is Format.DISCORD:
            assert body["allowed_mentions"] == {"parse": []}
            assert not re.search(r"(?<!\\)[`*_\[\]<>@]", body["embeds"][0]["description"])
        elif style is Format.TEAMS:
            assert {"TextBlock", "Image", "Media"} & set(shown) == set()
        else:
            assert any(name in text for text in shown), name


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value
