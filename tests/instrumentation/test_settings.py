"""Settings: our own variables before the file, the file before OpenTelemetry's; nonsense is said and passed over."""

import logging
from pathlib import Path

import pytest

from noclobber.settings import DEFAULT_ENDPOINT, load

HTTP = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "http://127.0.0.1:4318/v1/traces"),
        ({HTTP: "http://c:4318"}, "http://c:4318/v1/traces"),
        ({HTTP: "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({HTTP: "http://c:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:2/own"}, "http://d:2/own"),
        ({HTTP: "http://c:1", "NOCLOBBER_ENDPOINT": "https://e:3"}, "https://e:3/v1/traces"),
        ({"NOCLOBBER_ENDPOINT": "http://e:3/v1/traces"}, "http://e:3/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://127.0.0.1:4317"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", HTTP: "c:4317"}, "c:4317"),
    ],
)
def test_where_spans_go(variables: dict[str, str], endpoint: str) -> None:
    """As OpenTelemetry's own exporters read these variables."""
    assert load(variables).endpoint == endpoint


@pytest.mark.parametrize("wrong", ["nonsense", "http://", "http://c:port", "ftp://c:1", "http://c:99999"])
def test_an_endpoint_that_is_none_is_said(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    """The default serves, and the log says why."""
    with caplog.at_level(logging.WARNING, "noclobber"):
        assert load({"NOCLOBBER_ENDPOINT": wrong}).endpoint == DEFAULT_ENDPOINT + "/v1/traces"
    assert wrong in caplog.text


def test_names_headers_and_attributes() -> None:
    """OTEL's names of the service and its attributes, headers decoded, our token on top."""
    found = load(
        {
            "OTEL_SERVICE_NAME": "svc",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=a%20b",
            "OTEL_EXPORTER_OTLP_HEADERS": "x=y%3D",
            "NOCLOBBER_TOKEN": "t",
            "NOCLOBBER_AGENT": "planner",
        }
    )
    assert (found.service, dict(found.resource_attributes), found.agent) == ("svc", {"team": "a b"}, "planner")
    assert found.headers == {"x": "y=", "authorization": "Bearer t"}


def test_a_file_says_what_variables_do_not(tmp_path: Path) -> None:
    """`[noclobber]` with the same names; lists and truths as TOML has them; declarations beside."""
    path = tmp_path / "n.toml"
    path.write_text('[noclobber]\nagent = "filed"\nexact = ["a*", "b"]\nring_max = 7\n[[resource]]\npattern = "x://*"')
    found = load({"NOCLOBBER_CONFIG": str(path), "NOCLOBBER_RING_MAX": "9"})
    assert (found.agent, found.exact, found.ring_max) == ("filed", ("a*", "b"), 9)
    assert found.tables == ({"pattern": "x://*"},)
    path.write_text("[noclobber]\nexact = true")
    assert load({"NOCLOBBER_CONFIG": str(path)}).exact == ("*",)


@pytest.mark.parametrize("text", ["[noclobber", "noclobber = 1", "[resource]\npattern = 'x'", "resource = 1", None])
def test_a_file_that_can_not_be_used_is_said(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with it, the agent starts with the defaults."""
    path = tmp_path / "n.toml"
    if text is not None:
        path.write_text(text)
    with caplog.at_level(logging.WARNING, "noclobber"):
        found = load({"NOCLOBBER_CONFIG": str(path)}, program="/x/agent.py")
    assert (found.service, found.tables, bool(caplog.records)) == ("agent", (), True)


def test_numbers_that_are_none_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """The default is used."""
    with caplog.at_level(logging.WARNING, "noclobber"):
        assert load({"NOCLOBBER_RING_MAX": "many"}).ring_max == 65536
    assert "ring_max is not a number: 'many'" in caplog.text


def test_switches() -> None:
    """On, off, and which integrations."""
    assert load({"NOCLOBBER_DISABLED": "TRUE"}).disabled
    assert not load({"NOCLOBBER_DISABLED": "0"}).disabled
    found = load({"NOCLOBBER_WITHOUT": "redis", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlalchemy, x"})
    assert found.without == {"redis", "sqlalchemy", "x"}
    assert load({"NOCLOBBER_INTEGRATIONS": "redis"}).integrations == {"redis"}
    assert load({"NOCLOBBER_WATCH_FILES": "/srv/a/, /srv/*.json"}).watch_files == ("/srv/a/", "/srv/*.json")
