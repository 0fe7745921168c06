"""How numbers and names are put."""

import pytest

from noclobber_dashboard.wording import age, csv_cell, duration, inline_code, kind_title, plural, short_name, shorten

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(900, "1 µs"), (400_000, "400 µs"), (1_500_000, "1.5 ms"), (640_000_000, "640 ms"), (2_804_000_000, "2.80 s"),
     (42 * SECOND, "42.0 s"),
     (61 * SECOND, "1 min 1 s"), (3 * 3600 * SECOND, "3 h 0 min"), (5 * 86400 * SECOND, "5 days")],
)  # fmt: skip
def test_duration(nanoseconds: int, text: str) -> None:
    """A length of time is given in the unit that fits it."""
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("resource", "name"),
    [("redis://host:6379/0/acct:42", "acct:42"), ("postgresql://db/bank/accounts/id=1", "accounts/id=1"),
     ("file://host/a/plan%20b.md", "plan b.md"), ("plain", "plain"), ("redis://", "redis://")],
)  # fmt: skip
def test_short_name(resource: str, name: str) -> None:
    """The short name is the part that tells resources apart, and never empty."""
    assert short_name(resource) == name


def test_age() -> None:
    """An age is round, and `never` where nothing happened."""
    now = 10_000_000 * SECOND
    assert [age(0, now), age(now, now), age(now - 40 * SECOND, now), age(now - 7200 * SECOND, now)] == [
        "never", "just now", "40 s ago", "2 h ago",
    ]  # fmt: skip


def test_formulas_in_csv_are_text() -> None:
    """A cell that a spreadsheet would compute is quoted; others are left alone."""
    assert [csv_cell("=1+1"), csv_cell("@x"), csv_cell("acct")] == ["'=1+1", "'@x", "acct"]


def test_inline_code_cannot_be_left() -> None:
    """No backtick or line end of an untrusted name ends its code span."""
    assert inline_code("a`![](http://x)`\nb") == "`a'![](http://x)' b`"


def test_small_words() -> None:
    """Titles, plurals and shortened names read as a person would write them."""
    assert (kind_title("stale_write"), kind_title("check_then_act")) == ("Stale write", "Check-then-act")
    assert (plural(1, "access"), plural(2, "access"), plural(1200, "finding")) == (
        "1 access",
        "2 accesses",
        "1,200 findings",
    )
    assert (shorten("abcdef", 6), shorten("abcdefgh", 5)) == ("abcdef", "ab…gh")
