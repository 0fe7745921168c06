"""When an issue is told, and what holds it back: one lane over the real store, whose clock the test moves."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import msgspec
import pytest
from made_findings import START_NS, HandClock
from receivers import Answer, Receiver
from test_sender import Bench
from told import DATA, a_row

from noclobber_analyzer.alerts.grouping import finest
from noclobber_analyzer.alerts.inhibition import inhibitions_from
from noclobber_analyzer.alerts.matchers import matcher_from, matchers_from, matches
from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.routes import RouteError, route_from
from noclobber_analyzer.alerts.sender import Lane
from noclobber_analyzer.alerts.silences import end_row, silence_row, silences_from
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.issue_log import DEFAULT_POLICY
from noclobber_analyzer.issues import Policy, Transition, acknowledge, replay, silence
from noclobber_analyzer.tables import Store, append_transitions, read_transitions

SECRET = {"url": "https://hooks.example.com/x", "format": "slack"}


class Told(Bench):
    """A bench whose rows say why they were written, and with rules that inhibit."""

    rules: tuple[dict[str, object], ...] = ()
    began_ns = 0

    def again(self) -> None:
        self.began_ns = self.began_ns or self.clock.now_ns()
        inhibitions = inhibitions_from(self.rules)
        self.outbox = Outbox(self.store, [self.route], self.clock, inhibitions)
        self.outbox.open()
        self.lane = Lane(self.store, self.outbox, self.route, self.clock)

    def write(self, name: str, kind: str, because: str = "", issue: str = "i1", **changed: object) -> None:
        self.clock.move(0.001)  # rows of one issue have times of their own
        row = a_row(
            f"{name}-{self.clock.now_ns()}", self.clock.now_ns(), kind=f"issue.{kind}", **{"issue": issue, **changed}
        )
        body = msgspec.json.decode(row.body) | (
            {"because": because, "fresh_ns": self.clock.now_ns()} if because else {}
        )
        append_transitions(self.store, [replace(row, body=msgspec.json.encode(body).decode())])

    def move(self, seconds: float) -> list[str]:
        """Let time pass, to what is due or a fifth of it at once; returns what arrived meanwhile."""
        before, end_ns = len(self.receiver.requests), self.clock.now_ns() + int(seconds * SECOND_NS)
        while True:
            due_ns = self.turn()
            if due_ns is not None and due_ns <= self.clock.now_ns():
                continue
            if self.clock.now_ns() >= end_ns:
                break
            step_ns = self.clock.now_ns() + max(SECOND_NS, int(seconds * SECOND_NS / 5))
            self.clock.move((min(end_ns, step_ns, due_ns or end_ns) - self.clock.now_ns()) / SECOND_NS)
        return [request["json"]["type"].removeprefix("issue.") for request in self.receiver.requests[before:]]

    def silence(self, *matchers: str, from_s: float = 0, for_s: float = 100) -> str:
        now_ns = self.clock.now_ns()
        start_ns = now_ns + int(from_s * SECOND_NS)
        row = silence_row(
            matchers, start_ns, start_ns + int(for_s * SECOND_NS), comment="deploying", actor="ann", now_ns=now_ns
        )
        append_transitions(self.store, [row])
        return row.id


APART_S = 500 * 86_400
_begun = count(1)


def _later() -> HandClock:
    """A time at which nothing of an earlier test is read any more: cheaper than to empty the store."""
    return HandClock(START_NS + next(_begun) * APART_S * SECOND_NS)


@pytest.fixture
def told(real_store: Store, receiver: Receiver) -> Told:
    return Told(real_store, receiver, _later())


def test_an_opening_leaves_at_once_and_further_findings_are_gathered(told: Told) -> None:
    """The second finding waits 30 s for others and for the interval of 5 min since the opening; one message tells."""
    told.write("t1", "opened")
    assert told.move(0) == ["opened"]
    for number in range(5):
        told.clock.move(1)
        told.write(f"u{number}", "updated", "more")
    assert told.move(280) == []
    assert told.move(40) == ["updated"]
    told.clock.move(300)
    told.write("late", "updated", "more")
    assert told.move(25) == []
    assert told.move(10) == ["updated"]
    assert told.outbox.waiting() == {told.route.name: 4}  # superseded, never to be sent


def test_a_route_has_waits_of_its_own(real_store: Store, receiver: Receiver) -> None:
    """Told every 10 s at most, after 2 s of gathering, reminded each hour."""
    told = Told(real_store, receiver, _later(), group_wait="2s", group_interval="10s", repeat="1h")
    told.write("t1", "opened")
    assert told.move(0) == ["opened"]
    told.write("u1", "updated", "more")
    assert told.move(9) == []
    assert told.move(2) == ["updated"]
    told.clock.move(1_800)
    told.write("u2", "updated", "repeat")
    assert told.move(1_700) == []
    assert told.move(200) == ["updated"]


def test_what_became_worse_does_not_wait(told: Told) -> None:
    """A higher severity or certainty is news."""
    told.write("t1", "opened")
    told.move(0)
    told.write("u1", "updated", "worse", certainty="certain")
    assert told.move(0) == ["updated"]


def test_nobody_who_looks_after_an_issue_is_reminded(told: Told) -> None:
    """A reminder that waits when somebody acknowledges is not sent."""
    told.write("t1", "opened")
    told.move(0)
    told.clock.move(60)
    told.write("u1", "updated", "repeat")
    told.clock.move(60)
    row = acknowledge(
        "i1", replay(read_transitions(told.store, told.began_ns)), actor="ann", now_ns=told.clock.now_ns()
    )
    append_transitions(told.store, [row])
    assert told.move(5 * 3_600) == []


def test_a_restart_changes_nothing(real_store: Store, make_receiver: Callable[[], Receiver]) -> None:
    """Openings, updates, a silence and an end: with a fresh sender at every step the same leaves at the same times."""
    steady = _story(Told(real_store, make_receiver(), _later()), restarts=False)
    assert [kind for _, kind in steady] == ["opened", "updated", "opened", "resolved"]
    again = _story(Told(real_store, make_receiver(), _later()), restarts=True)
    assert again == [(at_ns + APART_S * SECOND_NS, kind) for at_ns, kind in steady]


def _story(told: Told, *, restarts: bool) -> list[tuple[int, str]]:
    seen: list[tuple[int, str]] = []

    def step(seconds: int) -> None:
        for _ in range(seconds // 50):
            if restarts:
                told.again()
            seen.extend((told.clock.now_ns(), kind) for kind in told.move(50))

    told.write("t1", "opened")
    step(50)
    told.write("u1", "updated", "more")
    step(100)
    told.write("u2", "updated", "more")
    step(250)
    told.silence("kind=lost_*", for_s=200)
    told.write("o1", "opened", issue="i2")
    step(100)
    told.write("u3", "updated", "more")
    step(50)
    told.write("r1", "resolved")
    step(200)
    return seen


def test_a_silence_holds_back_and_tells_afterwards(told: Told) -> None:
    """While it lasts nothing is sent that it means; then the opening is told, with what came meanwhile after it."""
    told.silence("kind=lost_update", "agent=with*")
    told.write("t1", "opened")
    told.write("t2", "opened", issue="i2")
    told.write("t3", "opened", issue="i3", agents=["planner"])
    assert told.move(50) == ["opened"]
    assert told.receiver.requests[0]["json"]["data"]["issue"] == "i3"
    assert told.move(60) == ["opened", "opened"]


def test_what_opens_and_ends_in_a_silence_is_never_told(told: Told) -> None:
    """Nobody needs to know that something is over of which they never heard; an end of what they heard waits."""
    told.write("t1", "opened", issue="i1")
    assert told.move(1) == ["opened"]
    told.silence("issue=*")
    told.write("t2", "opened", issue="i2")
    told.clock.move(10)
    told.write("t3", "resolved", issue="i2")
    told.write("t4", "resolved", issue="i1")
    assert told.move(80) == []
    assert told.move(60) == ["resolved"]
    assert told.receiver.requests[-1]["json"]["data"]["issue"] == "i1"


def test_a_silence_starts_later_and_can_be_ended_early(told: Told) -> None:
    """Before its start and after somebody ended it everything is told; who ended it stands in the log."""
    name = told.silence("resource=redis://*", from_s=100, for_s=1_000)
    told.write("t1", "opened")
    assert told.move(50) == ["opened"]
    told.clock.move(60)
    told.write("t2", "opened", issue="i2")
    assert told.move(30) == []
    made = silences_from(read_transitions(told.store))[0]
    append_transitions(told.store, [end_row(made, actor="bob", now_ns=told.clock.now_ns())])
    assert told.move(1) == ["opened"]
    ended = silences_from(read_transitions(told.store))[0]
    assert (ended.id, ended.author, ended.ended_by, ended.comment) == (name, "ann", "bob", "deploying")


def test_what_was_begun_goes_on_in_a_silence(told: Told) -> None:
    """Its receiver may have it already: the same id comes again, whatever was silenced since."""
    told.receiver.answers = [Answer(500)]
    told.write("t1", "opened")
    assert told.move(0) == ["opened"]
    told.silence("kind=*", for_s=3_600)
    assert told.move(60) == ["opened"]
    assert len(set(told.receiver.ids)) == 1


def test_an_issue_silenced_or_accepted_meanwhile_sends_nothing(told: Told) -> None:
    """Also what its writer did not know to be muted: it waits for the end of the silence."""
    told.write("t1", "opened")
    told.move(0)
    now_ns = told.clock.now_ns()
    standing = replay(read_transitions(told.store, told.began_ns))
    row = silence("i1", standing, actor="ann", now_ns=now_ns, until_ns=now_ns + 1_000 * SECOND_NS)
    told.write("u1", "updated", "more")
    append_transitions(told.store, [row])
    assert told.move(900) == []
    assert told.move(200) == ["updated"]


RULE = {"source": "kind=deadlock", "target": ["kind=lost_update"], "equal": ["resource"]}


def test_an_open_issue_inhibits_what_follows_from_it(told: Told) -> None:
    """While the deadlock on a resource is open, lost updates on it wait, those elsewhere do not."""
    told.rules = (RULE,)
    told.again()
    deadlock = a_row("d1", told.clock.now_ns(), issue="d")
    append_transitions(told.store, [_of_kind(deadlock, "deadlock")])
    assert told.move(1) == ["opened"]
    told.write("t1", "opened", issue="i1")
    told.write("t2", "opened", issue="i2", resources=["redis://h:6379/0/other"])
    assert told.move(50) == ["opened"]
    assert told.receiver.requests[-1]["json"]["data"]["issue"] == "i2"
    ended = a_row("d2", told.clock.now_ns(), "issue.resolved", issue="d")
    append_transitions(told.store, [_of_kind(ended, "deadlock")])
    told.again()
    assert sorted(told.move(2)) == ["opened", "resolved"]


def _of_kind(row: Transition, kind: str) -> Transition:
    body = msgspec.json.decode(row.body)
    body["data"]["kind"] = kind
    return replace(row, body=msgspec.json.encode(body).decode())


def test_a_source_from_before_the_horizon_still_inhibits(real_store: Store, receiver: Receiver) -> None:
    """An issue that was opened a month ago and is still open holds back what comes today."""
    clock = _later()
    append_transitions(real_store, [_of_kind(a_row("old-d1", clock.now_ns(), issue="old-d"), "deadlock")])
    clock.move(30 * 86_400)
    told = Told(real_store, receiver, clock)
    told.rules = (RULE,)
    told.again()
    told.write("t1", "opened")
    assert told.move(10) == []


def test_the_most_impatient_route_sets_the_pace() -> None:
    """Two routes' waits become one policy."""
    routes = [
        route_from({"name": "a", "group_interval": "10s", "repeat": "0s", **SECRET}),
        route_from({"name": "b", "group_wait": 1, "repeat": "1h", **SECRET}),
    ]
    assert finest(routes, DEFAULT_POLICY) == Policy(group_wait_s=1, group_interval_s=10, repeat_s=3_600)
    assert finest([], DEFAULT_POLICY) == DEFAULT_POLICY


@pytest.mark.parametrize(
    ("text", "fits"),
    [("kind=lost_update", True), ("kind=fork", False), ("kind!=fork", True), ("resource=redis://*/acct:*", True),
     ("resource!=*acct*", False), ("agent=deposit", True), ("agent!=planner", True), ("severity=high", True),
     ("issue=i1", True), ("certainty=certain", False)],
)  # fmt: skip
def test_a_matcher_fits_what_it_names(text: str, fits: bool) -> None:
    """Fields of an issue and shell patterns; of a list one has to fit."""
    assert matches((matcher_from(text),), DATA) is fits
    assert str(matcher_from(text)) == text


@pytest.mark.parametrize("texts", [[], ["kind"], ["kind="], ["size=3"], ["kind=" + "x" * 501], ["kind=a"] * 21])
def test_what_is_no_matcher_is_refused(texts: list[str]) -> None:
    """Nothing, nonsense, too long, too many."""
    with pytest.raises(ValueError, match="matcher"):
        matchers_from(texts)


@pytest.mark.parametrize(
    ("matchers", "start_s", "end_s", "comment", "why"),
    [(["kind=fork"], 0, 10, " ", "comment"), (["kind=fork"], 10, 5, "x", "end after"),
     (["kind=fork"], -9, 0, "x", "end"), (["kind=fork"], 0, 400 * 86_400, "x", "a year"),
     (["x"], 0, 10, "x", "no matcher")],
)  # fmt: skip
def test_a_silence_that_makes_no_sense_is_refused(
    matchers: list[str], start_s: float, end_s: float, comment: str, why: str
) -> None:
    """One sentence says why."""
    times = (int(start_s * SECOND_NS), int(end_s * SECOND_NS))
    with pytest.raises(ValueError, match=why):
        silence_row(matchers, *times, comment=comment, actor="ann", now_ns=0)


@pytest.mark.parametrize(
    ("table", "why"),
    [({}, "one to"), ({"source": "kind=fork"}, "one to"), ({**RULE, "equals": "kind"}, "unknown setting"),
     ({**RULE, "equal": ["size"]}, "names fields")],
)  # fmt: skip
def test_a_rule_that_cannot_be_used_says_why(table: dict[str, object], why: str) -> None:
    """Both sides are needed, and `equal` names fields."""
    with pytest.raises(ValueError, match=why):
        inhibitions_from([table])


@pytest.mark.parametrize("words", [{"group_wait": "soon"}, {"repeat": "-1s"}, {"group_interval": 0}, {"repeat": True}])
def test_a_wait_that_is_none_is_refused(words: dict[str, object]) -> None:
    """It is a number of seconds, or text with a unit."""
    with pytest.raises(RouteError, match="is a time"):
        route_from({**SECRET, **words})
