"""What a judgement changes in the store, told in findings alone."""

from collections.abc import Iterable

import msgspec
import pytest
from made_findings import a_finding

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.evaluate import Evaluation
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.reconcile import Changes, reconcile


def changes(
    found: list[Finding], standing: list[Finding], *, waiting: Iterable[str] = (), kept: bool = True
) -> Changes:
    evaluation = Evaluation(findings=found, waiting={name: frozenset({"p"}) for name in waiting})
    return reconcile(
        evaluation,
        {finding.id: finding for finding in standing},
        holds=lambda _: kept,
        because=lambda finding: f"no longer {finding.kind}",
    )


def test_what_vanished_is_taken_back() -> None:
    """A finding that is not found again is gone, with the reason."""
    assert changes([], [a_finding("a")]) == Changes([], {"a": "no longer lost_update"}, [])


def test_what_waits_is_not() -> None:
    """While its resource waits for a process, nothing is said of it."""
    old = a_finding("a")
    assert changes([], [old], waiting=[old.resource]) == Changes([], {}, [])


def test_what_fell_out_is_neither_taken_back_nor_rewritten() -> None:
    """Once accesses fell out of the kept history, what was written of them stays as it is."""
    old = a_finding("a")
    less = msgspec.structs.replace(old, certainty=Certainty.POSSIBLE)
    assert changes([], [old], kept=False) == Changes([], {}, [])
    assert changes([less], [old], kept=False) == Changes([], {}, [])


def test_certain_ones_stay() -> None:
    """A certain finding that vanished is a bug to tell, not a finding to take back."""
    assert changes([], [a_finding("a", certainty=Certainty.CERTAIN)]) == Changes([], {}, ["a"])


@pytest.mark.parametrize("waiting", [(), ("redis://h:6379/0/acct:42",)])
def test_a_kind_once_sent_stays(waiting: tuple[str, ...]) -> None:
    """Accesses that had a finding keep its id and kind; what they turn out to be stands in `also`, once."""
    old = a_finding("a")
    new = a_finding("b", kind=Kind.DIRTY_READ, also=(Kind.LOST_UPDATE,))
    first = changes([new], [old], waiting=waiting)
    assert [(f.id, f.kind, f.also) for f in first.found] == [("a", Kind.LOST_UPDATE, (Kind.DIRTY_READ,))]
    assert first.gone == {}
    assert changes([new], first.found, waiting=waiting) == first


def test_two_kinds_over_one() -> None:
    """Two new kinds over one old finding both stand in its `also`."""
    old = a_finding("a")
    new = [a_finding("b", kind=Kind.DIRTY_READ), a_finding("c", kind=Kind.FORK)]
    (kept,) = changes(new, [old]).found
    assert (kept.id, set(kept.also)) == ("a", {Kind.DIRTY_READ, Kind.FORK})
