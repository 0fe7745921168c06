"""Messages for those who wake people: Alertmanager's webhook receivers, PagerDuty; and for buses: CloudEvents, OTLP.

Source: Prometheus, "Configuration", `webhook_config` (payload version 4); PagerDuty, "Send an alert event" (Events API
v2; summary 1,024, dedup_key 255 characters); CloudEvents 1.0, JSON event format; OpenTelemetry protocol, logs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber_analyzer.alerts.words import ACKNOWLEDGED, Words, shortened

__all__ = ["alertmanager", "cloudevent", "log_record", "pagerduty", "rfc3339"]

NEVER: Final = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of an alert that still fires: Go's zero time."""
PAGERDUTY_SEVERITY: Final = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
LOG_SEVERITY: Final = {"critical": 21, "high": 17, "medium": 13, "low": 9}
"""OpenTelemetry's severity numbers: fatal, error, warn, info."""
_INFO: Final = 9


def rfc3339(time_ns: int) -> str:
    """UTC with milliseconds."""
    when = datetime.fromtimestamp(time_ns // 1_000_000_000, tz=UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000 // 1_000_000:03}Z"


def alertmanager(words: Words, receiver: str, at_ns: int, data: Mapping[str, object]) -> dict[str, Any]:
    """One group with one alert, as Alertmanager sends it to a webhook."""
    status = "resolved" if words.is_over else "firing"
    labels = {
        "alertname": words.kind,
        "severity": words.severity,
        "certainty": words.certainty,
        "issue": words.issue,
        "agents": dict(words.facts).get("Agents", ""),
        "resources": dict(words.facts).get("Resources", ""),
    }
    annotations = {"summary": words.heading, "description": words.sentence, "advice": words.advice}
    first_ns = data.get("first_ns")
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(first_ns if isinstance(first_ns, int) else at_ns),
        "endsAt": rfc3339(at_ns) if words.is_over else NEVER,
        "generatorURL": words.link,
        "fingerprint": words.issue[:16],
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{issue="{words.issue}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": {"issue": words.issue},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": _base(words.link),
        "alerts": [alert],
    }


def pagerduty(words: Words, routing_key: str, at_ns: int) -> dict[str, Any]:
    """An event of Events API v2: the issue is the incident's key, so that its end resolves it.

    Who acknowledges it here is not paged for it, nor is the next one.
    """
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if words.is_over else "acknowledge" if words.event == ACKNOWLEDGED else "trigger",
        "dedup_key": shortened(words.issue, 255),
        "client": "noclobber",
        "payload": {
            "summary": shortened(words.heading, 1_024),
            "source": dict(words.facts).get("Resources") or "noclobber",
            "severity": PAGERDUTY_SEVERITY.get(words.severity, "warning"),
            "timestamp": rfc3339(at_ns),
            "component": dict(words.facts).get("Agents", ""),
            "group": words.issue,
            "class": words.kind,
            "custom_details": {
                "explanation": words.sentence,
                "advice": words.advice,
                **{name.lower(): text for name, text in words.facts},
            },
        },
    }
    if words.link:
        event |= {"client_url": words.link, "links": [{"href": words.link, "text": "The finding"}]}
    return event


def cloudevent(message_id: str, event: str, at_ns: int, data: Mapping[str, object]) -> dict[str, Any]:
    """A structured CloudEvent: the same data as `standard`, in the frame of buses."""
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": _base(str(data.get("url") or "")) or "urn:noclobber",
        "type": f"noclobber.{event}",
        "subject": str(data.get("issue") or ""),
        "time": rfc3339(at_ns),
        "datacontenttype": "application/json",
        "data": data,
    }


def log_record(words: Words, message_id: str, at_ns: int) -> bytes:
    """An OTLP request with one log record: body in words, facts as attributes, `noclobber.alert` its event name."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "noclobber"
    scope = resource.scope_logs.add()
    scope.scope.name = "noclobber.alerts"
    record = scope.log_records.add(
        time_unix_nano=at_ns,
        observed_time_unix_nano=at_ns,
        severity_number=_INFO if words.is_over else LOG_SEVERITY.get(words.severity, _INFO),
        severity_text=words.severity,
        event_name="noclobber.alert",
    )
    record.body.string_value = "\n".join(filter(None, (words.heading, words.sentence)))
    told = {
        "noclobber.alert.id": message_id,
        "noclobber.alert.event": words.event,
        "noclobber.alert.issue": words.issue,
        "noclobber.alert.kind": words.kind,
        "noclobber.alert.certainty": words.certainty,
        "noclobber.alert.advice": words.advice,
        "noclobber.alert.url": words.link,
        **{f"noclobber.alert.{name.lower()}": text for name, text in words.facts},
    }
    for name, text in told.items():
        if text:
            record.attributes.add(key=name).value.string_value = text
    body: bytes = request.SerializeToString(deterministic=True)
    return body


def _base(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
