"""Findings beside a finding, and latent ones as they are ranked and plotted."""

from typing import Any

import pytest
import sample

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.tables import append_findings
from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_dashboard.pages.latent import PLOTTED_MAX, points
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import FindingBody
from noclobber_dashboard.related import Cascade, cascade_of

BANK = "5f2c9a41d07be836c1a4f0925d7e3b68"


def beside(queries: Queries, finding: Finding) -> Cascade:
    head = queries.finding(finding.id)
    assert head is not None
    return cascade_of(head, FindingBody.from_json(head.body), queries)


def test_a_cascade_is_seen_from_both_ends(queries: Queries, filled: Any) -> None:
    """From the first finding what followed, from the later one what it follows from; nothing else."""
    head = queries.finding(BANK)
    assert head is not None
    first = Finding.from_json(head.body)
    later = sample.cascade(first)
    undone = sample.replace_finding(later, id="ab" * 16, status="retracted", revision=2)
    append_findings(filled, [(finding, finding.last_ns) for finding in (later, undone)])
    assert [finding.id for finding in beside(queries, first).followers] == [later.id]
    assert [finding.id for finding in beside(queries, later).causes] == [first.id]
    assert beside(queries, first).causes == beside(queries, later).followers == ()
    other = next(each for each in queries.recent_findings() if each.kind == "fork")
    assert beside(queries, Finding.from_json(queries.bodies([other.id])[other.id])) == Cascade()


def test_what_another_version_wrote_is_left_out(queries: Queries) -> None:
    """A body that this analyzer does not understand is no cascade, and no error."""
    head = queries.finding(BANK)
    assert head is not None
    assert cascade_of(sample.replace(head, body="{}"), FindingBody.from_json("{}"), queries) == Cascade()


def test_a_search_that_takes_too_long_is_left_out(queries: Queries) -> None:
    """The finding is shown without what lies beside it; a store that is away is said as everywhere."""
    head = queries.finding(BANK)
    assert head is not None

    class Slow(Queries):
        error: StoreError = StoreError("took too long")

        def naming(self, *_asked: object) -> list[str]:
            raise self.error

    slow = Slow(None)  # type: ignore[arg-type]  # never asked
    assert cascade_of(head, FindingBody.from_json(head.body), slow) == Cascade()
    slow.error = StoreUnreachableError("away")
    with pytest.raises(StoreUnreachableError):
        cascade_of(head, FindingBody.from_json(head.body), slow)


def test_points_are_margins_and_windows(queries: Queries) -> None:
    """Of each issue its margin and its window, the narrowest escape first, lengths as a person reads them."""
    rows = points(queries.latent())
    assert [(row["what"], row["length"]) for row in rows[:2]] == [("margin", "80 ms"), ("window", "2.73 s")]
    assert str(rows[0]["issue"]).startswith("1. Lost update on acct:*")
    issues = list(dict.fromkeys(str(row["issue"]) for row in rows))
    assert [issue.partition(".")[0] for issue in issues] == [str(n + 1) for n in range(len(issues))]
    assert all(float(str(row["seconds"])) > 0 for row in rows)
    assert len(points(queries.latent() * 40)) == 2 * 40 * len(queries.latent())
    many = [
        sample.replace(escape, head=sample.replace(escape.head, issue=f"{number}"))
        for number, escape in enumerate(list(queries.latent()) * 8)
    ]
    assert len({row["issue"] for row in points(many)}) == PLOTTED_MAX
