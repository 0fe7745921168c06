"""How numbers and names are put."""

import csv
import io

import pytest
import sample
from hostile import HOSTILE

from noclobber_dashboard.pages.findings import as_csv
from noclobber_dashboard.records import FindingHead
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


@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_of_the_export_is_a_formula(name: str) -> None:
    """Whatever a resource or agent is called, a spreadsheet reads the export's cells as text, one row a finding."""
    finding, _ = sample.race(1, name, (name, "x"), SECOND)
    head = FindingHead(
        finding.id, 1, finding.issue, str(finding.kind), str(finding.certainty), str(finding.severity), True, "open",
        finding.resource, finding.agents, 1, 2, 3,
    )  # fmt: skip
    rows = list(csv.reader(io.StringIO(as_csv([head]), newline="")))
    assert len(rows) == 2
    assert not [cell for cell in rows[1] if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert name in rows[1][5]
