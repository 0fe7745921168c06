"""Locks that did not hold, and waits in a circle; beside each what a lock does rightly."""

import pytest

from noclobber.contract import Guard, VersionKind
from story import judge, told

COUNTER, CHAIN, PRINT = VersionKind.COUNTER, VersionKind.CHAIN, VersionKind.FINGERPRINT


def _only(of: str, story: str, **told_with: object) -> list[str]:
    return [line.split()[1] for line in told(story, **told_with) if line.startswith(of)]


FENCED = "Al7 Arx1 Bl8 Brx1 Bwx2<1^1 Awx3<1^2 Bn8"


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param(FENCED, COUNTER, ["certain"], id="a lower token made a later number"),
        pytest.param(FENCED, CHAIN, ["certain"], id="a lower token replaced what a higher one had made"),
        pytest.param(FENCED, PRINT, ["likely"], id="the same by content"),
        pytest.param("Al7 Arx1 Bl8 Awx2<1^1", PRINT, ["likely"], id="by the clock: the next token was handed out"),
        pytest.param("Al7 Arx1 Awx2<1^1 An7 Bl8 Brx2 Bwx3<2^2 Bn8", COUNTER, [], id="one after the other"),
        pytest.param("Al7 Arx1 Bl8 Awx2<1!rejected", COUNTER, [], id="the store refused the old token"),
        pytest.param("Al7 Arx1 Al7 Awx2<1^1 An7", COUNTER, [], id="a renewal"),
        pytest.param("Al7 Arx1 (Bl8 Awx2<1^1)", PRINT, ["possible"], id="the two calls overlap"),
        pytest.param("Al7 Arx1 Bl8 Awx2<1^1!unknown", PRINT, ["possible"], id="perhaps it was never applied"),
    ],
)
def test_fencing(story: str, kind: VersionKind, expected: list[str]) -> None:
    """A write under a token that was overtaken is a finding, as sure as versions or the clock make it."""
    assert _only("lock_violation", story, kind=kind) == expected


def test_fencing_of_two_machines() -> None:
    """A read under the higher token that still got the write's base places the write; without it, a possibility."""
    assert _only("lock_violation", "Al7 Arx1 Bl8 Brx1 Awx2<1", clocks="apart") == ["likely"]
    assert _only("lock_violation", "Al7 Arx1 Bl8 Bry1 Awx2<1", clocks="apart") == ["possible"]
    assert _only("lock_violation", "Al7 Arx1 Awx2<1 An7 Bl8 Brx2 Bwx3<2", clocks="apart") == []
    assert _only("lock_violation", "Al7 Arx1 Bl8 Bry1 Awx2<1", clocks="apart", lost=(0,)) == ["possible"]


def test_fencing_names_one_finding() -> None:
    """The lost update that the lock was to prevent goes to `also`."""
    (finding,) = judge(FENCED, kind=COUNTER).findings
    assert (str(finding.kind), "lost_update" in finding.also) == ("lock_violation", True)
    assert finding.explanation == (
        "`A` wrote `x` under `lock` with token 7 after `B` had taken the lock with token 8, and replaced what `B` "
        "had written since. Its lease had ended without its knowing."
    )


def test_fencing_names_one_finding_whichever_write_is_called_later() -> None:
    """Clocks that do not compare may show the two writes in either order: it is one finding all the same."""
    for story in ("Al1 Arx1 Bl2 Brx1 Awx2<1 Bwx3<1", "Al1 Arx1 Bl2 Brx1 Bwx3<1 Awx2<1"):
        (finding,) = judge(story, clocks="apart").findings
        assert (str(finding.kind), str(finding.certainty)) == ("lock_violation", "likely")
        assert "lost_update" in finding.also


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param("Al1 Arx Bl2 Brx Bwx Awx", (0, 2), ["possible"], id="the locks are lost"),
        pytest.param("Al1 Arx Awx An1 Bl2 Bwx", (0, 4), [], id="the first had unlocked"),
        pytest.param("Al1 Arx Awx An1 Bl2 Bwx", (0, 3, 4), [], id="the first was over"),
        pytest.param("Al2 Arx Bl1 Brx Bwx Awx", (0, 2), [], id="in order"),
    ],
)
def test_tokens_of_the_writes_alone(story: str, lost: tuple[int, ...], expected: list[str]) -> None:
    """Where the spans of the locks are lost, the tokens that the writes name still raise the question."""
    assert _only("lock_violation", story, kind=None, lost=lost) == expected


def test_guard_beside_the_lock() -> None:
    """A store that compares the base refuses on its own: no token is needed."""
    assert _only("lock_violation", "Al7 Arx1 Bl8 Awx2<1^1", guard=Guard.VERSION) == []


@pytest.mark.parametrize(
    ("story", "lease_ms", "expected"),
    [
        pytest.param("Alx Arx1 | Blx Awx2<1", 5000, ["likely"], id="the lease ran out and another took it"),
        pytest.param("Alx Arx1 | Awx2<1", 5000, [], id="the lease ran out and nobody took it"),
        pytest.param("Alx Arx1 | Alx Blx!rejected Awx2<1", 5000, [], id="it was renewed"),
        pytest.param("Alx Blx Anx Bnx", None, ["likely"], id="two holds at one time"),
        pytest.param("Alx Blx Anx Bnx", 5000, ["likely"], id="two holds, neither lease at its end"),
        pytest.param("Alx | Blx Anx Bnx", 5000, [], id="the first lease had run out"),
        pytest.param("Alx Anx Blx Bnx", None, [], id="one after the other"),
        pytest.param("Alx Blx", None, [], id="nobody knows when the first ended"),
        pytest.param("Alx Bnx Anx", None, ["certain"], id="another's hold was unlocked"),
        pytest.param("Alx Bnx!rejected Anx", None, [], id="the lock refused it"),
        pytest.param("Alx Anx Bnx", None, [], id="nobody held it"),
        pytest.param("Alx Bnx Anx!no_effect", None, ["certain"], id="another's hold was gone when it was given back"),
        pytest.param("Alx Anx!no_effect Blx Anx Bnx", None, ["likely"], id="it unlocked again, as another held it"),
        pytest.param("Alx Bnx!rejected Anx!no_effect", None, [], id="nobody knows who ended it"),
        pytest.param("Alx | Blx Bnx Alx Anx", 5000, [], id="taken again after its lease had run out"),
        pytest.param("Alx Arx1 | Blx Awx2<1 Alx", 5000, ["likely"], id="taken again after a write without it"),
    ],
)
def test_holds(story: str, lease_ms: int | None, expected: list[str]) -> None:
    """Leases, overlapping holds and unlocks of others."""
    assert _only("lock_violation", story, lease_ms=lease_ms) == expected


def test_foreign_unlock_without_owners() -> None:
    """Where locks name no owners the strands are all that there is."""
    assert _only("lock_violation", "Alx Bnx Anx", owned=False) == ["likely"]


def _turns(count: int, last: str) -> str:
    turns = [f"{who}lx {who}rx{n} {who}wx{n + 1}<{n} {who}nx" for n, who in enumerate("AB" * count, 1)]
    return " ".join(turns) + f" {last}"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param("Alx Arx41 Cwx99 Awx42<41 Anx", ["likely"], id="while another held it"),
        pytest.param("Cwx99", [], id="while nobody held it"),
        pytest.param("Alx Arx41 Cux99 Anx", [], id="an update that the store does at once"),
        pytest.param("Alx Arx41 Crx41 Anx", [], id="a read"),
    ],
)
def test_unguarded(last: str, expected: list[str]) -> None:
    """A write without the lock that all others hold is a finding if it falls into another's hold."""
    assert _only("lock_violation", _turns(20, last)) == expected


def test_no_discipline() -> None:
    """Where many do without the lock there is no rule to break."""
    assert _only("lock_violation", "Alx Arx1 Cwx99 Awx2<1 Anx Cwx3 Cwx4 Cwx5 Cwx6 Cwx7 Cwx8 Cwx9") == []


LET_GO = "Alx1 Bly1 (Aly2>B!unknown Bny1 Blx>A!rejected)"
NOT_YET = "Alx1 (Aly>B!unknown Blx>A!rejected Bly2)"


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)", ["certain"], id="each holds what the other wants"),
        pytest.param("Alx1 Bly1 (Aly!unknown Blx!rejected)", ["likely"], id="nobody said for whom it waited"),
        pytest.param("Alx1 Bly1 Aly>B!rejected Blx>A!rejected", [], id="one after the other: the first gave up"),
        pytest.param("Alx1 Bly1 (Aly2>B Blx2>A)", [], id="both got what they waited for"),
        pytest.param("Alx1 Bly1 (Aly>B!unknown Clx>A!rejected)", [], id="no circle"),
        pytest.param("(Alx>B!unknown Bly>C!unknown Clz>A!rejected)", ["certain"], id="three in a circle"),
        pytest.param("(Ag7>B!unknown B+A!unknown)", ["certain"], id="a message against a join"),
        pytest.param("A*B (A+B Bm)", [], id="an ordinary join"),
        pytest.param(LET_GO, [], id="who was in the way had given it back"),
        pytest.param(NOT_YET, [], id="who came to be in the way did not have it yet"),
    ],
)
def test_deadlock(story: str, expected: list[str]) -> None:
    """A circle of waits that were open at one moment is a deadlock unless all of them ended well."""
    assert _only("deadlock", story) == expected


def test_deadlock_of_two_machines() -> None:
    """Without a common clock nobody knows whether they waited at one moment."""
    assert _only("deadlock", "Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)", clocks="apart") == ["possible"]
    assert _only("deadlock", "Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)", clocks="host") == ["likely"]


def test_deadlock_is_told_once() -> None:
    """Two waits, one cycle, one finding, with who held what."""
    (finding,) = judge("Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)").findings
    assert [access.role for access in finding.accesses] == ["holder", "holder", "wait", "wait"]
    assert finding.explanation == (
        "`A` waited for `locky`, which was up to `B`; `B` waited for `lockx`, which was up to `A`. "
        "None of them could go on until one gave up."
    )
