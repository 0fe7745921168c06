"""A strand's line: holes are found anew only where that may change them, and are what they would be anyway."""

from hypothesis import given
from hypothesis import strategies as st

from noclobber.contract import Op
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.coverage import holes
from noclobber_analyzer.forms import access_of
from noclobber_analyzer.lines import StrandLine


def an_access(seq: int) -> Access:
    return access_of(
        trace_id="a" * 32, span_id=f"{seq:016x}", start_ns=seq * 10, end_ns=seq * 10 + 5, process=Process("p"),
        op=Op.READ, resource="x://1", system="x", agent="a", strand="s", seq=seq, unit="s",
    )  # fmt: skip


@given(st.lists(st.integers(1, 40), min_size=1, max_size=25, unique=True), st.randoms(), st.integers(1, 6))
def test_what_is_left_has_its_own_holes(seqs: list[int], mixed: object, at_once: int) -> None:
    """Whatever comes in whatever order, and falls out in another: between what is left the missing numbers are told."""
    line, kept = StrandLine(), [an_access(seq) for seq in seqs]
    loose = [line.add(access) for access in kept]
    if any(loose):
        line.measure()
    mixed.shuffle(kept)  # type: ignore[attr-defined]
    while kept:
        gone, kept = kept[:at_once], kept[at_once:]
        for access in gone:
            line.drop(access)
        line.cut_off()
        assert {access.seq for access in line.accesses} == {access.seq for access in kept}
        if kept:
            assert line.gaps == holes("s", line.accesses, whole=False)
