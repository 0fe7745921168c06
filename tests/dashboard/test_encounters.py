"""Who met whom: pairs out of findings, and the cells of the matrix."""

from noclobber_dashboard.encounters import encounters, most_involved
from noclobber_dashboard.pages.agents import cells
from noclobber_dashboard.records import FindingHead


def head(
    number: int, *agents: str, kind: str = "lost_update", severity: str = "high", status: str = "open"
) -> FindingHead:
    return FindingHead(
        id=f"{number:032x}", revision=1, issue="i", kind=kind, certainty="certain", severity=severity, manifest=True,
        status=status, resource="redis://bank/acct", agents=agents, first_ns=number, last_ns=number, found_ns=number,
    )  # fmt: skip


def test_every_pair_of_a_finding_met() -> None:
    """Three agents are three pairs; one alone met itself; what was retracted did not happen."""
    met = encounters([head(1, "b", "a"), head(2, "a", "b", "c"), head(3, "d"), head(4, "a", "d", status="retracted")])
    assert [(each.one, each.other, [int(h.id, 16) for h in each.findings]) for each in met] == [
        ("a", "b", [2, 1]), ("a", "c", [2]), ("b", "c", [2]), ("d", "d", [3]),
    ]  # fmt: skip


def test_the_worst_and_the_most_frequent_stand_for_a_pair() -> None:
    """Severity by its rank, kinds by how often."""
    (pair,) = encounters(
        [head(1, "a", "b", kind="fork", severity="critical"), head(2, "a", "b"), head(3, "a", "b", severity="low")]
    )
    assert (pair.worst, pair.kinds) == ("critical", ("lost_update", "fork"))


def test_agents_are_ranked_by_their_findings() -> None:
    """A finding counts once for an agent, with however many others it is shared."""
    met = encounters([head(1, "a", "b", "c"), head(2, "d", "c")])
    assert most_involved(met, 2) == ["c", "a"]


def test_cells_stand_on_both_sides_and_only_for_shown_agents() -> None:
    """The matrix is symmetrical; a pair with an agent that is not in it is left out."""
    made = cells(encounters([head(1, "a", "b"), head(2, "a"), head(3, "a", "z")]), ["a", "b"])
    assert sorted((row["one"], row["other"], row["findings"]) for row in made) == [
        ("a", "a", 1), ("a", "b", 1), ("b", "a", 1),
    ]  # fmt: skip
