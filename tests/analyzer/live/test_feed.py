"""What has arrived is read in portions, and the next one may be fetched while the last is worked on: the same rows."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from intake import Agent, Intake, wait_until
from streams import ACCOUNT

from noclobber_analyzer.cursor import Batch, Cursor, Feed
from noclobber_collector.errors import StoreError


def writes(count: int, agent: Agent, first: int = 0) -> list[dict[str, Any]]:
    return [agent.write(ACCOUNT, str(first + n), str(first + n + 1), 1.0 + first + n) for n in range(count)]


def read_all(feed: Feed) -> list[Batch]:
    batches = []
    while (batch := feed.pull()) is not None:
        batches.append(batch)
    return batches


def names(batches: list[Batch]) -> list[list[Any]]:
    return [[(row.place, row.item) for row in batch.rows] for batch in batches]


def take_each(intake: Intake, requests: list[dict[str, Any]]) -> None:
    for request in requests:
        intake.take([request])


def no_longer_fetching() -> bool:
    return not any(thread.name == "noclobber-feed" for thread in threading.enumerate())


def test_ahead_the_same_is_read(intake: Intake) -> None:
    """Portion by portion, whether or not the next is fetched meanwhile; and each says whether there is more."""
    take_each(intake, writes(7, Agent("writer")))
    plain = read_all(Feed(intake.store, Cursor(), 3))
    ahead = read_all(Feed(intake.store, Cursor(), 3, ahead=True))
    assert names(plain) == names(ahead)
    assert [each.more for each in plain] == [each.more for each in ahead] == [True, False]


def test_who_is_behind_takes_more_at_once(intake: Intake) -> None:
    """Two portions by one question, as long as more than that waits."""
    take_each(intake, writes(7, Agent("writer")))
    assert [len(batch.rows) for batch in read_all(Feed(intake.store, Cursor(), 2))] == [4, 2, 1]


def test_what_arrives_meanwhile_is_more(intake: Intake) -> None:
    """A portion that was the last one when it was asked for is not, if something has arrived since."""
    agent = Agent("writer")
    take_each(intake, writes(4, agent))
    feed = Feed(intake.store, Cursor(), 3, ahead=True)
    first = feed.pull()
    assert first is not None
    assert first.more
    wait_until(no_longer_fetching)
    take_each(intake, writes(1, agent, first=4))
    second, third = feed.pull(), feed.pull()
    assert second is not None
    assert third is not None
    assert [len(batch.rows) for batch in (first, second, third)] == [3, 1, 1]
    assert (second.more, third.more) == (True, False)
    assert feed.pull() is None


class Failing:
    """A store that refuses some of the questions for rows, by their numbers; `asked` is how many there were."""

    def __init__(self, store: Any, refused: set[int]) -> None:
        self._store, self._refused, self.asked = store, refused, 0

    def rows(self, sql: str, parameters: Mapping[str, object]) -> Any:
        return self._store.rows(sql, parameters)

    def columns(self, sql: str, parameters: Mapping[str, object]) -> Any:
        self.asked += 1
        if self.asked in self._refused:
            raise StoreError("refused")
        return self._store.columns(sql, parameters)


def test_a_question_that_failed_is_asked_again(intake: Intake) -> None:
    """What failed on the other thread fails where it is waited for; then it is read after all, and once."""
    take_each(intake, writes(7, Agent("writer")))
    whole = names(read_all(Feed(intake.store, Cursor(), 3)))
    asked = Failing(intake.store, set())
    read_all(Feed(asked, Cursor(), 3, ahead=True))  # type: ignore[arg-type]
    feed = Feed(Failing(intake.store, {asked.asked}), Cursor(), 3, ahead=True)  # type: ignore[arg-type]
    first = feed.pull()
    assert first is not None
    with pytest.raises(StoreError, match="refused"):
        feed.pull()
    assert names([first, *read_all(feed)]) == whole


def test_what_was_fetched_and_not_taken_is_read_another_time(intake: Intake) -> None:
    """Whoever closes a feed waits for the other thread, and loses nothing."""
    take_each(intake, writes(7, Agent("writer")))
    whole = names(read_all(Feed(intake.store, Cursor(), 3)))
    feed = Feed(intake.store, Cursor(), 3, ahead=True)
    first = feed.pull()
    assert first is not None
    feed.close()
    wait_until(no_longer_fetching)
    assert names([first, *read_all(feed)]) == whole
