"""One story for every kind of anomaly, so that what must hold for all of them can be asked of all of them."""

from dataclasses import dataclass, field

from noclobber.contract import Kind, VersionKind
from noclobber.declarations import Declarations, declaration_from
from noclobber_analyzer.access import Access
from story import Story

__all__ = ["STORIES", "Told"]

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
LIMIT = Declarations([declaration_from({"pattern": "mem://*", "invariant": "size <= 100"})])


@dataclass(frozen=True)
class Told:
    """A story, how it is told, what its owners declared, and what is known of it besides."""

    text: str
    told_with: dict[str, object] = field(default_factory=dict)
    declarations: Declarations = field(default_factory=Declarations)
    closed: bool = False
    sizes: tuple[int, ...] = ()

    def accesses(self) -> list[Access]:
        """The accesses of the story."""
        accesses = Story(**self.told_with).accesses(self.text)  # type: ignore[arg-type]  # the table names real fields
        for access in accesses:
            access.closed = self.closed
        for access, size in zip(accesses, self.sizes, strict=False):
            access.size = size
        return accesses


APART: dict[str, object] = {"kind": COUNTER, "clocks": "apart"}
BARE: dict[str, object] = {**APART, "step": False}
KAFKA: dict[str, object] = {"system": "kafka", "group": "g"}

STORIES: dict[Kind, Told] = {
    Kind.LOST_UPDATE: Told("Arx1 Brx1 Awx2<1^1 Bwx3<1^2"),
    Kind.FORK: Told("Arx1 Brx1 Aix2<1 Bix3<1", {"kind": CHAIN}),
    Kind.STALE_WRITE: Told("Arx1 Bwx2<1 Aax3<1^2", {"kind": COUNTER}),
    Kind.BLIND_OVERWRITE: Told("Crx0 Cwx1<0 Bwx2"),
    Kind.INTERLEAVED_WRITES: Told("Aax1 Bax2 Aax3 Bax4", {"kind": COUNTER}),
    Kind.DIRTY_READ: Told("A[ Awx2 Brx2 A}", {"kind": CHAIN}),
    Kind.INTERMEDIATE_READ: Told("A[ Awx2 Brx2 Awx3 A]", {"kind": CHAIN}),
    Kind.DIRTY_WRITE: Told("A[ B[ Awx2^1 Bwx3^2 Bwy2^1 Awy3^2 A] B]", APART),
    Kind.STALE_READ: Told("Awx2<1 Brx1", {"kind": COUNTER}),
    Kind.READ_YOUR_WRITES: Told("Awx2<1 Arx1", {"kind": COUNTER}),
    Kind.MONOTONIC_READS: Told("Bwx3 Arx3 Arx2", {"kind": COUNTER}),
    Kind.MONOTONIC_WRITES: Told("Awx3 Awx2", {"kind": COUNTER}),
    Kind.WRITES_FOLLOW_READS: Told("Awx1 Awx2<1 Crx2 Cwy1 Bry1 Brx1", BARE),
    Kind.CAUSAL_VIOLATION: Told("Awx1 Awx2<1 As9 Bg9 Brx1", BARE),
    Kind.NON_REPEATABLE_READ: Told("A[r Arx1 Bwx2<1 Arx2 A]", {"kind": COUNTER}),
    Kind.PHANTOM_READ: Told("A[ Aqx1y1 Biz1 Aqx1y1z1 A]", {"kind": COUNTER}),
    Kind.READ_SKEW: Told("A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary2 A]", APART),
    Kind.WRITE_SKEW: Told("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", APART),
    Kind.LONG_FORK: Told("A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx1 D]", APART),
    Kind.CIRCULAR_INFORMATION_FLOW: Told("A[ B[ Awx2 Bwy2 Ary2 Brx2 A] B]", {"kind": CHAIN, "clocks": "apart"}),
    Kind.SERIALIZATION_CYCLE: Told("A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 Cwx2<1 A] B] C]", APART),
    Kind.CHECK_THEN_ACT: Told("Arx1 Bwx2<1 Afh"),
    Kind.DOUBLE_CLAIM: Told("Arx1 Brx1 Atx7 Btx7 Ae7 Be7"),
    Kind.DUPLICATE_DELIVERY: Told("As7 Bg7 Bux2 Bg7^2 Bux3 Bk7"),
    Kind.DUPLICATE_EFFECT: Told("Afh Afh"),
    Kind.LOST_MESSAGE: Told("As7<1 As8<2 As9<3 Bg7<1 Bg9<3", KAFKA),
    Kind.OUT_OF_ORDER: Told("As7<1 As8<2 Bg8<2 Bk8 Bg7<1 Bk7", KAFKA),
    Kind.LOCK_VIOLATION: Told("Alx Bnx Anx"),
    Kind.DEADLOCK: Told("Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)"),
    Kind.UNKNOWN_WRITER: Told("Awx1 Brx2"),
    Kind.GARBAGE_READ: Told("Awx1 Brx2", closed=True),
    Kind.INVARIANT_VIOLATION: Told("Awx2 Awx3<2 Awx4<3", declarations=LIMIT, sizes=(90, 120, 80)),
}
"""A story for each kind that yields it, alone or beside others."""
