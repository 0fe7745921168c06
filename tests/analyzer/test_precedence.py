"""One set of accesses, one finding: which kind names it, and what goes to `also`."""

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.precedence import settle
from noclobber_analyzer.verdict import Candidate, Grade
from story import Story

FIRST, SECOND = Story().accesses("Awx1 Bwx2")


def candidate(kind: Kind, certainty: Certainty = Certainty.LIKELY, anchor: object = SECOND) -> Candidate:
    return Candidate(
        kind=kind,
        resource="mem://x",
        anchors=(anchor,),
        roles=((FIRST, "victim"),),
        grade=Grade(certainty),  # type: ignore[arg-type]
    )


def names(*candidates: Candidate) -> list[tuple[Kind, tuple[Kind, ...]]]:
    return [(each.kind, each.also) for each in settle(candidates)]


def test_the_earlier_kind_names_it() -> None:
    """In whatever order they are proposed."""
    fork, lost = candidate(Kind.FORK), candidate(Kind.LOST_UPDATE)
    assert names(fork, lost) == names(lost, fork) == [(Kind.LOST_UPDATE, (Kind.FORK,))]


def test_other_anchors_are_another_finding() -> None:
    """Kinds that speak of other accesses stand beside each other."""
    found = names(candidate(Kind.FORK), candidate(Kind.LOST_UPDATE, anchor=FIRST))
    assert [kind for kind, _ in found] == [Kind.LOST_UPDATE, Kind.FORK]


def test_a_possibility_swallows_nothing_surer() -> None:
    """What is known outranks a guess; a guess of a later kind goes along."""
    guess = candidate(Kind.DOUBLE_CLAIM, Certainty.POSSIBLE)
    assert len(names(guess, candidate(Kind.LOST_UPDATE))) == 2
    assert names(candidate(Kind.DOUBLE_CLAIM), candidate(Kind.LOST_UPDATE, Certainty.POSSIBLE)) == [
        (Kind.DOUBLE_CLAIM, (Kind.LOST_UPDATE,))
    ]
