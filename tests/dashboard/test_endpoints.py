"""Alert routes as the settings page knows them: from the log alone, with what became of their messages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.route_log import enable_row, resend_row
from noclobber_analyzer.alerts.routes import route_from
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.tables import Delivery, append_deliveries, append_transitions
from noclobber_collector.store import open_store
from noclobber_dashboard.queries import Queries

OPS = route_from({"name": "ops", "format": "slack", "url": "https://hooks.example/t0ken", "min_severity": "high",
                  "agents": ["planner*"], "latent": True})  # fmt: skip
MAIL = route_from({"name": "mail", "format": "email", "url": "smtps://mail.example", "from": "n@example.com",
                   "to": ["ops@example.com"], "user": "me", "password": "hunter2"})  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """An empty embedded store."""
    made = open_store(f"chdb://{tmp_path / 'store'}")
    yield made
    made.close()


def done(message: str, attempt: int, status: int, at_ns: int, *, final: bool = False) -> Delivery:
    ok = status == 200
    return Delivery(
        message, f"row-{message}", "ops", attempt, "done", at_ns, status, final or ok, ok, 1.0, f"said {status}"
    )


def test_a_route_is_told_without_its_secrets(store: Any) -> None:
    """Name, format, host or mailbox, and what it wants, in words; removed ones are gone."""
    Outbox(store, [OPS, MAIL], SYSTEM).open()
    mail, ops = Queries(store).endpoints()
    assert (ops.name, ops.format, ops.where) == ("ops", "slack", "https://hooks.example")
    assert ops.wants == "high and worse, likely and surer; agents: planner*; latent, too"
    assert (mail.where, mail.wants) == ("smtps://mail.example to ops@example.com", "low and worse, likely and surer")
    assert (ops.last_ns, ops.is_off) == (0, False)
    told = str(store.rows("SELECT * FROM transitions"))
    assert "t0ken" not in told
    assert "hunter2" not in told
    Outbox(store, [MAIL], SYSTEM).open()
    assert [each.name for each in Queries(store).endpoints()] == ["mail"]


def test_what_became_of_messages_is_counted_by_message(store: Any) -> None:
    """Three attempts of one message are one; a letter that was given up and then arrived is no dead one."""
    Outbox(store, [OPS], SYSTEM).open()
    now_ns = SYSTEM.now_ns()
    append_deliveries(store, [
        done("a", 1, 503, now_ns + 1), done("a", 2, 200, now_ns + 2),
        done("b", 10, 500, now_ns + 3, final=True),
        done("c", 10, 500, now_ns + 4, final=True), done("c", 11, 200, now_ns + 5),
    ])  # fmt: skip
    (ops,) = Queries(store).endpoints()
    assert (ops.delivered, ops.dead, ops.status, ops.answer, ops.is_off) == (2, 1, 200, "said 200", False)
    (dead,) = Queries(store).dead_letters(10)
    assert (dead.id, dead.transition, dead.attempts, dead.status, dead.was_asked) == ("b", "row-b", 10, 500, False)


def test_a_route_that_is_gone_is_off_until_it_is_enabled(store: Any) -> None:
    """An answer of 410, and a person's word after it."""
    Outbox(store, [OPS], SYSTEM).open()
    now_ns = SYSTEM.now_ns()
    append_deliveries(store, [done("a", 1, 410, now_ns, final=True)])
    assert [each.is_off for each in Queries(store).endpoints()] == [True]
    append_transitions(store, [enable_row("ops", "ann", now_ns + 1)])
    assert [each.is_off for each in Queries(store).endpoints()] == [False]


def test_a_dead_letter_that_was_asked_for_says_so(store: Any) -> None:
    """Until the sender has tried it again; the row names the message as the sender does."""
    Outbox(store, [OPS], SYSTEM).open()
    now_ns = SYSTEM.now_ns()
    row = resend_row("ops", "row-a", "ann", now_ns + 1)
    append_deliveries(store, [done(row.finding, 10, 500, now_ns, final=True)])
    assert [each.was_asked for each in Queries(store).dead_letters(10)] == [False]
    append_transitions(store, [row])
    assert [each.was_asked for each in Queries(store).dead_letters(10)] == [True]


def test_how_long_things_are_kept_is_read_from_the_store(store: Any) -> None:
    """Days from each table's own definition; 0 where nothing expires."""
    kept = {str(row["name"]): int(row["days"]) for row in Queries(store).storage()}
    assert (kept["deliveries"], kept["findings"], kept["transitions"]) == (90, 400, 0)
