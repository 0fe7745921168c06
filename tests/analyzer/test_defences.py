"""What did no harm is counted with its reason: guards that held, and nothing else."""

import pytest

from story import judge


def reasons(story: str) -> list[str]:
    return [str(each.reason) for each in judge(story).defended]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("Al7 Bl8!rejected An7 Bl8 Bn8", ["lock"]),
        ("Al7 An7 Bl8 Bn8", []),
        ("Al7 Al7!rejected", []),
    ],
    ids=["turned away", "in turn", "a renewal that came too late"],
)
def test_who_finds_a_lock_taken_is_kept_apart(story: str, expected: list[str]) -> None:
    """A lock held by another that turns somebody away has defended; a lock that was lost has not."""
    assert reasons(story) == expected


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("Awx1 A[s Awx2<1 B[s Brx1 B] A}", ["serializable"]),
        ("Awx1 A[s Awx2<1 B[s Brx1 B] A]", ["serializable"]),
        ("Awx1 A[s Awx2<1 A} B[s Brx1 B]", []),
        ("Awx1 B[s Brx1 B] A[s Awx2<1 A}", []),
        ("Awx1 A[u Awx2<1 B[u Brx1 B] A}", []),
        ("Awx1 A[s Awx2<1 Brx1 A}", []),
    ],
    ids=["taken back", "kept", "after the end", "before the write", "luck", "one of them only"],
)
def test_a_serializable_read_passes_by_what_is_not_committed(story: str, expected: list[str]) -> None:
    """Two serializable transactions, one open over a row that the other reads as it was: isolation did that."""
    evaluation = judge(story)
    assert evaluation.findings == []
    assert [str(each.reason) for each in evaluation.defended] == expected
