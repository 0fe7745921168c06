"""What the sender promises, against real receivers and the real store."""

import threading
from collections.abc import Callable

import pytest
from made_findings import HandClock, a_finding
from receivers import Answer, Receiver, wait_until
from standardwebhooks import Webhook
from told import a_row

from noclobber_analyzer.alerts import Sender
from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.route_log import enable_row, resend_row, sample_row
from noclobber_analyzer.alerts.routes import Route, route_from
from noclobber_analyzer.alerts.schedule import ATTEMPTS_MAX
from noclobber_analyzer.alerts.sender import Lane
from noclobber_analyzer.alerts.signing import new_secret
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.tables import Store, append_transitions, read_deliveries, read_transitions


class Bench:
    """One lane whose clock the test moves."""

    def __init__(self, store: Store, receiver: Receiver, clock: HandClock, **route: object) -> None:
        self.store, self.receiver, self.clock = store, receiver, clock
        self.route = receiver.route(**route)
        self.again()

    def again(self) -> None:
        """A sender started anew: it knows nothing but the log."""
        self.outbox = Outbox(self.store, [self.route], self.clock)
        self.outbox.open()
        self.lane = Lane(self.store, self.outbox, self.route, self.clock)

    def tell(self, *names: str, **changed: object) -> None:
        self.clock.move(0.001)
        append_transitions(self.store, [a_row(name, self.clock.now_ns(), **changed) for name in names])

    def turn(self) -> int | None:
        self.outbox.refresh()
        return self.lane.turn()

    def run(self) -> int:
        """Turn until nothing is due any more, moving the clock to what is due next; returns the turns."""
        for turns in range(1, 500):
            due_ns = self.turn()
            if due_ns is None:
                return turns
            self.clock.move(max(0.0, (due_ns - self.clock.now_ns()) / 1e9))
        raise AssertionError("the lane never came to rest")


@pytest.fixture
def bench(store: Store, receiver: Receiver) -> Bench:
    return Bench(store, receiver, HandClock())


def test_a_message_is_signed_and_holds_the_issue(store: Store, receiver: Receiver) -> None:
    """The reference library verifies it; type, timestamp and data are those of the contract."""
    bench = Bench(store, receiver, SYSTEM)  # type: ignore[arg-type]  # signatures are checked against the real time
    now_ns = SYSTEM.now_ns()
    append_transitions(store, [a_row("t1", now_ns, finding=a_finding())])
    assert bench.turn() is None
    (request,) = receiver.requests
    assert receiver.unverified == 0
    assert request["json"]["type"] == "issue.opened"
    assert request["json"]["timestamp"].endswith("Z")
    assert request["json"]["data"]["newest"]["id"] == "f1"
    assert [(row.phase, row.status, row.ok) for row in read_deliveries(store)] == [
        ("begun", 0, False),
        ("done", 204, True),
    ]


def test_during_rotation_old_and_new_receivers_verify(store: Store, receiver: Receiver) -> None:
    """Signed with both secrets, a receiver that knows only the old one is content."""
    bench = Bench(store, receiver, SYSTEM, secrets=[new_secret(), receiver.secret])  # type: ignore[arg-type]  # as above
    append_transitions(store, [a_row("t1", SYSTEM.now_ns())])
    bench.turn()
    assert receiver.unverified == 0
    headers = receiver.requests[0]["headers"]
    assert headers["webhook-signature"].count("v1,") == 2
    Webhook(bench.route.secrets[0]).verify(receiver.requests[0]["body"], headers)


def test_an_id_gets_one_2xx_whatever_is_written_or_started_again(bench: Bench) -> None:
    """The same rows written twice, and a sender started anew, send nothing more."""
    bench.tell("t1", "t2")
    bench.run()
    append_transitions(bench.store, read_transitions(bench.store))
    bench.again()
    bench.run()
    assert len(bench.receiver.ids) == len(set(bench.receiver.ids)) == 2


def test_a_failing_endpoint_gets_the_same_id_and_body_again(bench: Bench) -> None:
    """503, a cut connection, a redirect and a 500, then success: five attempts of one message."""
    bench.receiver.answers = [Answer(503, {"retry-after": "60"}), Answer(cut=True), Answer(302), Answer(500)]
    bench.tell("t1")
    begun_ns = bench.clock.now_ns()
    bench.run()
    assert len(bench.receiver.requests) == 5
    assert len({(request["id"], request["body"]) for request in bench.receiver.requests}) == 1
    begun = [row.at_ns for row in read_deliveries(bench.store) if row.phase == "begun"]
    assert begun[0] == begun_ns
    assert begun[1] - begun[0] >= 60 * 10**9
    assert bench.outbox.waiting() == {bench.route.name: 0}


def test_a_message_that_never_arrives_becomes_a_dead_letter(bench: Bench) -> None:
    """After ten attempts over days nothing more is tried; a person can send it again, once."""
    bench.receiver.answers = [Answer(500)] * ATTEMPTS_MAX
    bench.tell("t1")
    bench.run()
    last = read_deliveries(bench.store)[-1]
    assert (last.attempt, last.final, last.ok) == (ATTEMPTS_MAX, True, False)
    bench.clock.move(60)
    append_transitions(bench.store, [resend_row(bench.route.name, "t1", "ann", bench.clock.now_ns())])
    bench.run()
    assert read_deliveries(bench.store)[-1].ok
    assert len(set(bench.receiver.ids)) == 1


def test_410_disables_the_endpoint_until_somebody_enables_it(bench: Bench) -> None:
    """What comes meanwhile waits, also over a restart."""
    bench.receiver.answers = [Answer(410)]
    bench.tell("t1")
    bench.run()
    bench.tell("t2")
    bench.again()
    bench.run()
    assert len(bench.receiver.requests) == 1
    assert bench.outbox.disabled() == [bench.route.name]
    bench.clock.move(1)
    append_transitions(bench.store, [enable_row(bench.route.name, "ann", bench.clock.now_ns())])
    bench.run()
    assert len(set(bench.receiver.ids)) == 2


def test_a_throttled_endpoints_other_messages_lose_no_attempt(bench: Bench) -> None:
    """While it asks for patience nothing else is tried."""
    bench.receiver.answers = [Answer(429, {"retry-after": "30"})]
    bench.tell("t1", "t2", "t3")
    due_ns = bench.turn()
    assert due_ns is not None
    assert due_ns >= bench.clock.now_ns() + 30 * 10**9
    assert bench.turn() == due_ns
    assert len(bench.receiver.requests) == 1
    bench.run()
    assert len(bench.receiver.requests) == 4


def test_messages_of_one_issue_keep_their_order(bench: Bench) -> None:
    """A resolution waits for the opening that has not arrived yet; another issue does not."""
    bench.receiver.answers = [Answer(500)]
    bench.tell("t1", issue="i1")
    bench.turn()
    bench.tell("t2", issue="i1", kind="issue.resolved")
    bench.tell("t3", issue="i2")
    bench.run()
    types = [(request["json"]["type"], request["json"]["data"]["issue"]) for request in bench.receiver.requests]
    assert types == [
        ("issue.opened", "i1"), ("issue.opened", "i2"), ("issue.opened", "i1"), ("issue.resolved", "i1"),
    ]  # fmt: skip


def test_a_route_is_not_told_what_was_before_it(store: Store, receiver: Receiver) -> None:
    """A new endpoint starts with what comes; what came while the sender was down is told."""
    clock = HandClock()
    append_transitions(store, [a_row("old", clock.now_ns())])
    clock.move(1)
    bench = Bench(store, receiver, clock)
    bench.tell("while-down")
    bench.again()
    bench.run()
    assert [request["json"]["data"]["issue"] for request in receiver.requests] == ["issue-while-down"]


def test_a_muted_row_is_not_sent(bench: Bench) -> None:
    """Silenced and accepted issues send nothing."""
    bench.clock.move(1)
    row = a_row("t1", bench.clock.now_ns())
    muted = type(row)(*(getattr(row, name) for name in row.__slots__[:-1]), row.body.replace("false}", "true}"))
    append_transitions(bench.store, [muted])
    bench.run()
    assert bench.receiver.requests == []


def test_a_long_issue_is_cut(bench: Bench) -> None:
    """A body never exceeds 20 kB; `affected` and `edges` go first and `truncated` says so."""
    finding = a_finding(explanation="x" * 15_000, missing=tuple("y" * 100 for _ in range(300)))
    bench.tell("t1", finding=finding)
    bench.run()
    (request,) = bench.receiver.requests
    assert len(request["body"]) <= 20_000
    assert request["json"]["data"]["truncated"] is True
    assert request["json"]["data"]["newest"]["id"] == "f1"


def test_an_attempt_cut_off_by_a_crash_is_repeated_after_its_timeout(bench: Bench) -> None:
    """A sender that died between "begun" and "done" is followed by one that waits 15 s, then sends the same."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    bench.tell("t1")
    crashing = Lane(bench.store, bench.outbox, bench.route, bench.clock, send=die)  # type: ignore[arg-type]  # never returns
    bench.outbox.refresh()
    with pytest.raises(KeyboardInterrupt):
        crashing.turn()
    began_ns = bench.clock.now_ns()
    bench.again()
    assert bench.turn() == began_ns + 15 * 10**9
    bench.run()
    assert [(row.attempt, row.phase) for row in read_deliveries(bench.store)] == [
        (1, "begun"),
        (2, "begun"),
        (2, "done"),
    ]


def test_an_end_that_the_store_refuses_is_written_before_anything_else(bench: Bench) -> None:
    """The store fails after a 2xx: the lane keeps the answer and sends nothing until it stands in the log."""

    class Refusing:
        def __init__(self, store: Store) -> None:
            self.store, self.refusals = store, 0

        def rows(self, *words: object) -> list[tuple[object, ...]]:
            return self.store.rows(*words)

        def insert(self, table: str, columns: list[str], rows: list[tuple[object, ...]]) -> None:
            if table == "deliveries" and rows[0][4] == "done" and self.refusals < 2:
                self.refusals += 1
                raise OSError("disk full")
            self.store.insert(table, columns, rows)

    lane = Lane(Refusing(bench.store), bench.outbox, bench.route, bench.clock)  # type: ignore[arg-type]  # the seam's two methods
    bench.tell("t1")
    bench.outbox.refresh()
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            lane.turn()
    assert lane.turn() is None
    assert len(bench.receiver.requests) == 1
    assert [row.ok for row in read_deliveries(bench.store) if row.final] == [True]


def test_who_pages_people_is_told_that_somebody_looks_into_it(
    store: Store, make_receiver: Callable[[], Receiver]
) -> None:
    """PagerDuty stops paging the next one; a chat is told nothing, and the end comes after."""
    pager, chat = make_receiver(), make_receiver()
    clock = HandClock()
    address = {"allow": ["127.0.0.0/8"], "url": f"http://127.0.0.1:{pager.port}/"}
    pages = route_from({"name": "pages", "format": "pagerduty", "routing_key": "k" * 32, **address})
    chats = chat.route(format="slack")
    outbox = Outbox(store, [pages, chats], clock)
    outbox.open()
    for name, kind in (("t1", "issue.opened"), ("t2", "state.acknowledged"), ("t3", "issue.resolved")):
        clock.move(1)
        append_transitions(store, [a_row(name, clock.now_ns(), kind, issue="i-page")])
        outbox.refresh()
        for route in (pages, chats):
            Lane(store, outbox, route, clock).turn()
    assert [each["json"]["event_action"] for each in pager.requests] == ["trigger", "acknowledge", "resolve"]
    assert {each["json"]["dedup_key"] for each in pager.requests} == {"i-page"}
    assert len(chat.requests) == 2


def test_what_is_over_for_days_is_forgotten(bench: Bench) -> None:
    """A sender that runs for months holds no more than one that was started a moment ago; what waits is kept."""
    bench.tell("t1", "t2")
    bench.run()
    bench.clock.move(4 * 86_400)
    bench.receiver.answers = [Answer(500)] * 3
    bench.tell("t3")
    bench.turn()
    bench.clock.move(2 * 86_400)
    bench.outbox.refresh()
    held = bench.outbox
    assert [len(held._deliveries), len(held._issue_of), len(held._endpoints[bench.route.name].queues)] == [1, 1, 1]
    assert set(held._seen) == {"t3"}
    bench.run()
    assert len(set(bench.receiver.ids)) == 3


def test_a_sample_is_sent_to_one_endpoint_and_logged(bench: Bench, make_receiver: Callable[[], Receiver]) -> None:
    """The test button, pressed in any process: one message, said to be a sample, whatever the route's matchers want."""
    other = make_receiver()
    outbox = Outbox(bench.store, [bench.route, other.route()], bench.clock)
    outbox.open()
    append_transitions(bench.store, [sample_row(bench.route.name, "ann", bench.clock.now_ns())])
    bench.run()
    outbox.refresh()
    (request,) = bench.receiver.requests
    assert (request["json"]["type"], request["json"]["data"]["sample"]) == ("issue.opened", True)
    assert [row.ok for row in read_deliveries(bench.store) if row.final] == [True]
    assert outbox.waiting() == {bench.route.name: 0, other.route().name: 0}
    bench.again()
    bench.run()
    assert len(bench.receiver.requests) == 1


def test_the_log_says_what_routes_there_are(store: Store, receiver: Receiver) -> None:
    """Added, changed once for a change, removed, added again; and nothing that is secret."""

    def opened(*routes: Route) -> list[tuple[str, dict[str, object]]]:
        Outbox(store, routes, SYSTEM).open()
        return [(row.kind, row.content) for row in read_transitions(store)]

    first, second = receiver.route(), receiver.route(min_severity="critical")
    opened(first)
    opened(first)
    opened(second)
    opened(second)
    opened()
    rows = opened(second)
    assert [(kind, facts.get("min_severity")) for kind, facts in rows] == [
        ("route.added", "low"), ("route.changed", "critical"), ("route.removed", None), ("route.added", "critical"),
    ]  # fmt: skip
    assert rows[0][1]["where"] == "http://127.0.0.1"
    assert receiver.secret not in str(rows)
    assert "hook" not in str(rows)


def test_a_slow_endpoint_harms_no_other(store: Store, make_receiver: Callable[[], Receiver]) -> None:
    """While one receiver holds its answer, another gets all its messages; never two at a time."""
    slow, quick = make_receiver(), make_receiver()
    held = threading.Event()
    slow.answers = [Answer(hold=held)]
    sender = Sender(store, [slow.route(), quick.route()])
    sender.start()
    try:
        append_transitions(store, [a_row(f"t{number}", SYSTEM.now_ns()) for number in range(20)])
        sender.wake()
        wait_until(lambda: len(quick.requests) == 20)
        assert len(slow.requests) == 1
        held.set()
        wait_until(lambda: len(slow.requests) == 20)
        wait_until(lambda: sum(row.ok for row in read_deliveries(store)) == 40)
    finally:
        assert sender.stop(10)
    assert (slow.in_flight_max, quick.in_flight_max) == (1, 1)
    assert slow.unverified == quick.unverified == 0
    assert all(lane["pending"] == 0 for lane in sender.health().values())  # type: ignore[index]  # health is plain data
