"""An analyzer that runs alone answers orchestrators at a port of its own."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from noclobber_analyzer.live import LiveAnalyzer
from noclobber_analyzer.operation import ANALYZER, Operation


class NoStore:
    """Whatever is asked, it does not answer."""

    def __getattr__(self, _name: str) -> Any:
        raise ConnectionError("no store here, at host-of-ours")


@dataclass
class Stood:
    """An analyzer in a state that a test chooses; its figures are the real one's."""

    alive: bool = True
    error: str = ""
    figures: Mapping[str, object] = field(default_factory=lambda: LiveAnalyzer(NoStore()).stats())  # type: ignore[arg-type]  # never asked

    def stats(self) -> dict[str, object]:
        return {**self.figures, "last_error": self.error}


class Mute:
    """A sender with one lane."""

    def health(self) -> Mapping[str, Any]:
        return {"hook": {"attempts": 3, "delivered": 2, "pending": 1}}


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_alive_ready_and_what_it_counts() -> None:
    """Everything that is declared is told, in Prometheus's form."""
    with Operation("127.0.0.1", 0, Stood(), Mute()) as operation:
        assert asked(operation.port, "/live") == (200, "ok\n")
        assert asked(operation.port, "/ready?now") == (200, "ok\n")
        families = {each.name: each for each in text_string_to_metric_families(asked(operation.port, "/metrics")[1])}
        assert {row.name.removesuffix("_total") for row in ANALYZER} <= families.keys()
        assert families["noclobber_deliveries_pending"].samples[0].value == 1
        assert asked(operation.port, "/elsewhere")[0] == 404


def test_a_store_that_is_away_is_no_reason_to_start_it_again() -> None:
    """Not ready, yet alive; and where the store is, is told to nobody."""
    with Operation("127.0.0.1", 0, Stood(error="no route to host-of-ours"), Mute()) as operation:
        assert asked(operation.port, "/live")[0] == 200
        assert asked(operation.port, "/ready") == (503, "it waits for the store\n")


def test_one_whose_thread_has_ended_is_not_alive() -> None:
    """Then only a new process helps."""
    with Operation("127.0.0.1", 0, Stood(alive=False), Mute()) as operation:
        assert {asked(operation.port, path)[0] for path in ("/live", "/ready")} == {503}
