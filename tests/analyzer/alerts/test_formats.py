"""Each format against somebody else's reading of it: a published schema, or the parser of who takes it.

What is sent is a real finding's issue, and one whose names come from an attacker and are as long as can be.
"""

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from hostile import HOSTILE
from made_findings import a_finding
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from slack_sdk.models.blocks import Block, PlainTextObject

from noclobber_analyzer.alerts.formats import Told, dressed
from noclobber_analyzer.alerts.routes import Format, Route, route_from
from noclobber_analyzer.alerts.signing import new_secret
from noclobber_analyzer.alerts.words import words_of

AT_NS = 1_764_115_200_123_000_000
LONG = " ".join(HOSTILE) * 2
PLAIN: dict[str, object] = {
    "issue": "0b7d4c61e9a2f583d4c7b1a6905e2f38", "kind": "lost_update", "severity": "critical",
    "certainty": "certain", "title": "lost update on redis://h:6379/0/acct:* (deposit, withdraw)", "count": 3,
    "first_ns": AT_NS - 5_000_000_000, "last_ns": AT_NS, "resources": ["redis://h:6379/0/acct:42"],
    "agents": ["deposit", "withdraw"], "url": "https://noclobber.example/finding?id=f1",
    "newest": msgspec.to_builtins(a_finding()),
}  # fmt: skip
DATA: dict[str, dict[str, object]] = {
    "plain": PLAIN,
    "bare": {"issue": "i", "kind": "fork"},
    "hostile": {
        **PLAIN, "title": LONG, "agents": list(HOSTILE), "resources": list(HOSTILE),
        "newest": {"explanation": LONG, "advice": {"text": LONG, "code": LONG}},
    },
}  # fmt: skip
OF_FORMAT: dict[Format, dict[str, object]] = {
    Format.STANDARD: {"secret": new_secret()},
    Format.PAGERDUTY: {"routing_key": "k" * 32},
    Format.EMAIL: {"url": "smtp://mail.example", "from": "noclobber <alerts@example.com>", "to": ["ops@example.com"]},
    Format.APPRISE: {"url": "json://127.0.0.1"},
}


def route(style: Format, **words: object) -> Route:
    table = {"name": "ops", "url": "https://hooks.example/t0ken", "format": str(style)}
    return route_from({**table, **OF_FORMAT.get(style, {}), **words})


def sent(style: Format, data: str, kind: str = "issue.opened") -> Any:
    return json.loads(dressed(route(style), Told("msg_1", kind, AT_NS, DATA[data])))


@pytest.fixture(params=list(DATA))
def data(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# As Prometheus documents its webhook's payload, version 4; Go's decoder takes a zone-less zero time for "not yet".
ALERTMANAGER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
                 "commonAnnotations", "externalURL", "alerts"],
    "properties": {
        "version": {"const": "4"}, "groupKey": {"type": "string"}, "truncatedAlerts": {"type": "integer"},
        "status": {"enum": ["firing", "resolved"]}, "receiver": {"type": "string"}, "externalURL": {"type": "string"},
        "groupLabels": {"$ref": "#/$defs/texts"}, "commonLabels": {"$ref": "#/$defs/texts"},
        "commonAnnotations": {"$ref": "#/$defs/texts"},
        "alerts": {"type": "array", "minItems": 1, "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"],
            "properties": {
                "status": {"enum": ["firing", "resolved"]}, "labels": {"$ref": "#/$defs/texts"},
                "annotations": {"$ref": "#/$defs/texts"}, "startsAt": {"$ref": "#/$defs/time"},
                "endsAt": {"$ref": "#/$defs/time"}, "generatorURL": {"type": "string"},
                "fingerprint": {"type": "string"},
            },
        }},
    },
    "$defs": {
        "texts": {"type": "object", "additionalProperties": {"type": "string"}},
        "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
    },
}  # fmt: skip
# As PagerDuty documents Events API v2, "Send an alert event".
PAGERDUTY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["routing_key", "event_action", "payload"],
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"}, "client_url": {"type": "string", "format": "uri"},
        "links": {"type": "array", "items": {"required": ["href"], "properties": {"href": {"format": "uri"}}}},
        "images": {"type": "array"},
        "payload": {
            "type": "object",
            "additionalProperties": False,
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"}, "component": {"type": "string"},
                "group": {"type": "string"}, "class": {"type": "string"}, "custom_details": {"type": "object"},
            },
        },
    },
}  # fmt: skip


def test_alertmanager(data: str) -> None:
    """What Alertmanager's own receivers read; the end of an issue is the end of its alert."""
    for kind, status in (("issue.opened", "firing"), ("issue.resolved", "resolved")):
        told = sent(Format.ALERTMANAGER, data, kind)
        jsonschema.validate(told, ALERTMANAGER)
        assert (told["status"], told["alerts"][0]["status"], told["receiver"]) == (status, status, "ops")
        assert (told["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z") is (status == "firing")


def test_pagerduty(data: str) -> None:
    """One incident for one issue: opened by a trigger, ended by a resolve of the same key."""
    kinds = ("issue.opened", "state.acknowledged", "issue.retracted")
    opened, _, ended = told = [sent(Format.PAGERDUTY, data, kind) for kind in kinds]
    for each in told:
        jsonschema.validate(each, PAGERDUTY)
    assert [each["event_action"] for each in told] == ["trigger", "acknowledge", "resolve"]
    assert opened["dedup_key"] == ended["dedup_key"] == DATA[data]["issue"]
    assert opened["payload"]["severity"] == ("critical" if "severity" in DATA[data] else "warning")


def test_slack(data: str) -> None:
    """Slack's own library takes every block, and no text in them is anything but plain."""
    told = sent(Format.SLACK, data)
    blocks = Block.parse_all(told["blocks"])
    assert [block.to_dict() for block in blocks] == told["blocks"]  # validates lengths and shapes as it goes
    kinds = set(re.findall(r'"type": "(mrkdwn|plain_text)"', json.dumps(told)))
    assert kinds == {"plain_text"}
    assert isinstance(blocks[0].text, PlainTextObject)
    assert "<" not in told["text"]


def test_discord(data: str) -> None:
    """discord.py reads the embed back, within Discord's limits; nothing in it mentions or formats."""
    discord = pytest.importorskip("discord", reason="discord.py is not installed")
    told = sent(Format.DISCORD, data)
    (raw,) = told["embeds"]
    embed = discord.Embed.from_dict(raw)
    assert {name: embed.to_dict().get(name) for name in raw if raw[name]} == {k: v for k, v in raw.items() if v}
    assert len(embed) <= 6_000
    assert len(embed.title) <= 256
    assert all(0 < len(field.value) <= 1_024 for field in embed.fields)
    assert told["allowed_mentions"] == {"parse": []}
    shown = " ".join((embed.title, embed.description or "", *(field.value for field in embed.fields)))
    assert re.search(r"(?<!\\)(\\\\)*[*_`\[<>@#]", shown) is None


def test_teams(data: str) -> None:
    """The published schema of Adaptive Cards holds; only text runs carry text, since they know no markdown."""
    told = sent(Format.TEAMS, data)
    (attachment,) = told["attachments"]
    schema = json.loads(files("adaptive_cards").joinpath("schemas/schema-1.4.json").read_text("utf-8-sig"))
    jsonschema.validate(attachment["content"], schema)
    assert {element["type"] for element in attachment["content"]["body"]} == {"RichTextBlock"}


def test_cloudevents(data: str) -> None:
    """The SDK of CloudEvents reads it back, and its data is the issue."""
    body = dressed(route(Format.CLOUDEVENTS), Told("msg_1", "issue.opened", AT_NS, DATA[data]))
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    event = from_structured_event(HTTPMessage(headers, body), JSONFormat())
    assert (event.get_id(), event.get_type()) == ("msg_1", "noclobber.issue.opened")
    assert event.get_data() == json.loads(json.dumps(DATA[data]))


def test_otlp(data: str) -> None:
    """A log record that any OpenTelemetry backend takes, with the severity's number."""
    body = dressed(route(Format.OTLP), Told("msg_1", "issue.opened", AT_NS, DATA[data]))
    request = ExportLogsServiceRequest.FromString(body)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    told = {attribute.key: attribute.value.string_value for attribute in record.attributes}
    assert record.body.string_value.startswith(words_of("issue.opened", DATA[data]).heading)
    assert told["noclobber.alert.issue"] == DATA[data]["issue"]
    assert record.severity_number == (21 if "severity" in DATA[data] else 9)


@pytest.mark.parametrize("style", Format)
def test_a_message_is_the_same_at_every_attempt(style: Format, data: str) -> None:
    """Bytes depend on the event alone: a receiver that saw them before knows them."""
    event = Told("msg_1", "issue.opened", AT_NS, DATA[data])
    assert dressed(route(style), event) == dressed(route(style), event)
