"""Parts of pages that keep themselves fresh: made once for all, sent when something changed, closed to strangers."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import sample
from assembled import TOKEN, Away, application
from starlette.testclient import TestClient

from noclobber_dashboard.components.prose import Bars, Node, Since, text_of
from noclobber_dashboard.pages import PARTS
from noclobber_dashboard.parts import Parts
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.settings import DashboardSettings
from noclobber_dashboard.store_version import store_version

BASE = "http://127.0.0.1:8501"
PATHS = ("/parts/overview", "/parts/health", "/parts/live", "/parts/live?q=acct:42&op=read,write")


class Asked:
    """A store that counts what it is asked."""

    def __init__(self, store: Any) -> None:
        self._store, self.count = store, 0

    def dicts(self, sql: str, parameters: Mapping[str, object] = {}) -> Any:
        self.count += 1
        return self._store.dicts(sql, parameters)

    rows = insert = dicts


@pytest.fixture
def tabs(filled: Any) -> TestClient:
    """Whoever looks at the real parts of the pages, over the real store."""
    return TestClient(application(filled, DashboardSettings(), parts=PARTS), base_url=BASE)


@pytest.mark.parametrize("path", PATHS)
def test_a_tab_that_shows_all_gets_nothing(tabs: TestClient, path: str) -> None:
    """Its tag is that of the part: 304 without a body; another's tag, or none, gets the whole part."""
    first = tabs.get(path)
    assert first.status_code == 200
    again = tabs.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = tabs.get(path, headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_ages_are_left_to_the_browser(filled: Any) -> None:
    """Over what the store answers alike a part has the same bytes, and none of them says how long ago it was."""
    now_ns = time.time_ns()
    for name in ("overview", "live"):
        one, other = (Parts(Queries(filled, lambda: now_ns), PARTS).made(name, {}) for _ in range(2))
        assert one.tag == other.tag
        assert b'"tag":"time"' in one.body or name == "live"
        assert b" ago" not in one.body


def test_ten_tabs_are_one_question(filled: Any) -> None:
    """However many ask within its time, a part is made once."""
    store = Asked(filled)
    client = TestClient(application(store, DashboardSettings(), parts=PARTS), base_url=BASE)
    client.get("/parts/overview")
    once = store.count
    tags = {client.get("/parts/overview").headers["etag"] for _ in range(10)}
    assert (store.count, len(tags)) == (once, 1)


def test_another_word_is_another_part(tabs: TestClient) -> None:
    """What is filtered is kept apart; words that a part does not know change nothing."""
    every, reads = tabs.get("/parts/live"), tabs.get("/parts/live?op=read")
    assert every.headers["etag"] != reads.headers["etag"]
    assert tabs.get("/parts/live?other=1").headers["etag"] == every.headers["etag"]
    assert tabs.get("/parts/nothing").status_code == 404


def test_names_arrive_to_the_letter(tabs: TestClient) -> None:
    """Bytes of JSON, never markup: a hostile name is in them as it is."""
    answer = tabs.get("/parts/overview")
    assert answer.headers["content-type"] == "application/json"
    assert "<img src=x onerror=alert(1)>" in repr(answer.json())


def test_strangers_get_no_part(filled: Any) -> None:
    """The gate stands in front of parts, too."""
    client = TestClient(application(filled, DashboardSettings(token=TOKEN), parts=PARTS), base_url=BASE)
    assert client.get("/parts/overview").status_code == 401
    assert client.get("/parts/overview", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_store_that_is_away_is_said() -> None:
    """503, and nothing of where the store is."""
    client = TestClient(application(Away(), DashboardSettings(), parts=PARTS), base_url=BASE)
    answer = client.get("/parts/health")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "secret-host" not in answer.text


def test_a_version_lasts_until_something_is_written(real_store: Any) -> None:
    """Equal while nothing is written, another after one row, whatever the table."""
    before = store_version(real_store)
    assert before == store_version(real_store)
    _, rows = sample.race(7_001, "redis://bank:6379/0/version", ("one", "two"), 1_700_000_000_000_000_000)
    sample.insert_accesses(real_store, rows[:1])
    assert before != store_version(real_store)


def test_what_does_not_answer_has_no_version() -> None:
    """Nor has a store of which nothing is known."""
    assert store_version(Away()) is None


def test_shapes_say_what_the_script_needs() -> None:
    """Numbers for the script, words for those who listen; an age has no text of its own."""
    bars = Bars([("2 things", "12:00", [("high", 2), ("low", 0)]), ("", "", [])], "things by hour")
    assert bars.as_data() == {
        "tag": "bars", "alt": "things by hour", "most": 2,
        "columns": [["2 things", "12:00", [["high", 2]]], ["", "", []]],
    }  # fmt: skip
    assert Since(1_500_000_000).as_data() == {"tag": "time", "at": 1_500}
    assert text_of(Node(children=("seen ", Since(1), Node("b", children=("x",))))) == "seen x"
