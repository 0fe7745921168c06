"""Declarations: read, checked with messages that say what would be right, and laid over each other."""

from pathlib import Path
from typing import Any

import pytest
from reachability import touch

import noclobber
from noclobber.declarations import Declaration, DeclarationError, Declarations, Policy, declaration_from, load
from noclobber.resources import host_name
from noclobber.testing import capture

GOOD = """
[[resource]]
pattern = "redis://LOCALHOST:6379/0/acct:*"
policy = "last_writer_wins"

[[resource]]
pattern = "postgresql://*/jobs/*"
policy = "queue"
message_id = "id"
invariant = "size < 100"

[[resource]]
pattern = "redis://*/acct:7"
policy = "closed"
hash_ids = true
"""


def test_a_file_is_read_and_found_by_resource(tmp_path: Path) -> None:
    """Hosts as capture writes them; a later table is laid over an earlier one."""
    path = tmp_path / "n.toml"
    path.write_text(GOOD)
    known = load(path)
    here = f"redis://{host_name()}:6379/0/acct:"
    assert known.of(f"{here}1") == Declaration(f"{here}*", Policy.LAST_WRITER_WINS)
    seven = known.of(f"{here}7")
    assert seven is not None
    assert (seven.policy, seven.closed, seven.hash_ids) == (Policy.CLOSED, True, True)
    queue = known.of("postgresql://db:5432/app/jobs/id=1")
    assert queue is not None
    assert (queue.policy, queue.message_id, queue.invariant) == (Policy.QUEUE, "id", "size < 100")
    assert known.of("redis://other:6379/0/x") is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "`pattern` has to be a URI"),
        ({"pattern": "acct:*"}, "`pattern` has to be a URI"),
        ({"pattern": "x://a", "polcy": "cache"}, "there is no 'polcy'; known are alias_of, closed"),
        ({"pattern": "x://a", "policy": "caches"}, "there is no policy 'caches'; known are last_writer_wins, cache"),
        ({"pattern": "x://a", "policy": ["cache"]}, "there is no policy ['cache']"),
        ({"pattern": "x://a", "ignore": "yes"}, "`ignore` is true or false, not 'yes'"),
        ({"pattern": "x://a", "message_id": 1}, "`message_id` is a text, not 1"),
        ({"pattern": "x://a", "message_id": "id"}, "`message_id` belongs to policy 'queue'"),
        ({"pattern": "x://a", "alias_of": "db"}, "`alias_of` has to be a URI"),
        ({"pattern": "x://a", "invariant": "a <"}, "the invariant 'a <' is no expression"),
        ({"pattern": "x://a:port/b"}, "x://a:port/b"),
    ],
)
def test_mistakes_say_what_would_be_right(table: dict[str, Any], message: str) -> None:
    """Which table, what is wrong in it, and what is known."""
    with pytest.raises(DeclarationError) as raised:
        declaration_from(table, "the table")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[resource", "is not TOML"), ("[resource]\npattern='x'", "two brackets"), ("[[resource]]", "number 1"),
        (None, "can't read"),
    ],
)  # fmt: skip
def test_files_that_can_not_be_read(tmp_path: Path, text: str | None, message: str) -> None:
    """The path is named."""
    path = tmp_path / "n.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DeclarationError) as raised:
        load(path)
    assert (str(path) in str(raised.value), message in str(raised.value)) == (True, True)


def test_declared_in_code() -> None:
    """`noclobber.declare` holds from then on, also while instrumented; a mistake in it is the program's."""
    with capture() as captured:
        touch("a")
        assert captured.accesses
        noclobber.declare("x://a", closed=True)
        touch("a")
        assert [a.get("noclobber.closed") for a in captured.accesses] == [None, True]
        with pytest.raises(DeclarationError):
            noclobber.declare("x://a", close=True)
    with capture() as captured:
        touch("a")
        assert "noclobber.closed" not in captured.accesses[0]


def test_ids_that_are_hashed_keep_their_columns() -> None:
    """Only values leave as keyed hashes; equal ones are equal, and containers stay."""
    tables = ({"pattern": "pg://*/users/*", "hash_ids": True},)
    with capture(tables=tables):
        known = Declarations([declaration_from(tables[0])])
        one = known.named("pg://db/users/id=7,org=a")
        assert one == known.named("pg://db/users/id=7,org=a")
        assert [each.partition("=")[0] for each in one.removeprefix("pg://db/users/").split(",")] == ["id", "org"]
        assert ("7" in one.split("/")[-1].replace("h:", "")[:4], one.count("h:")) == (False, 2)
        assert known.named("pg://db/users/") == "pg://db/users/"


def test_locks_and_members_have_the_same_names() -> None:
    """An alias reaches every place in which a resource is named."""
    from noclobber import strands

    tables = ({"pattern": "x://old/*", "alias_of": "x://new/"},)
    with capture(tables=tables) as captured:
        strands.current().locks = ("x://old/lock",)
        with noclobber.access("x://old/", "scan") as a:
            a.tell(predicate="*", result_resources=("x://old/1", "x://else/2"))
        (scan,) = captured.accesses
    assert scan["noclobber.resource"] == "x://new/"
    assert scan["noclobber.locks"] == ["x://new/lock"]
    assert scan["noclobber.result.resources"] == ["x://new/1", "x://else/2"]


def recorded(**settings: Any) -> list[str]:
    """Resources that are told of four accesses, as far as they name any."""
    with capture(**settings) as captured:
        for name in ("redis://db:6379/0/acct:1", "redis://db:6379/0/hits:1", "x://a"):
            with noclobber.access(name, "read"):
                pass
        with noclobber.access("x://lock", "lock"):
            pass
        assert [each["noclobber.seq"] for each in captured.accesses] == [1, 2, 3, 4]
        return [each["noclobber.resource"] for each in captured.accesses if "ignored" not in each["noclobber.resource"]]


def test_only_what_is_included_is_recorded() -> None:
    """Locks are told all the same: whether the rest is defended depends on them. No number is missing."""
    assert recorded(include=("redis://db:6379/0/*",)) == [
        "redis://db:6379/0/acct:1", "redis://db:6379/0/hits:1", "x://lock",
    ]  # fmt: skip


def test_what_is_excluded_is_not_recorded() -> None:
    """Also where it is included by a wider pattern."""
    settings = {"include": ("redis://*",), "exclude": ("redis://*/hits:*",)}
    assert recorded(**settings) == ["redis://db:6379/0/acct:1", "x://lock"]
    assert recorded(exclude=("x://*",)) == ["redis://db:6379/0/acct:1", "redis://db:6379/0/hits:1"]


def test_a_pattern_that_is_none_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the others hold."""
    assert recorded(exclude=("redis://db:99999999/*", "x://*"))[0] == "redis://db:6379/0/acct:1"
    assert "leaves out a pattern" in caplog.text
