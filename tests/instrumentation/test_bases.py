"""Bases in a tiny language: what a strand did in order, and which base its writes got.

`r1 w2` reads version 1 and writes 2; `w2=1` claims base 1 for the write, `w2=-` that it is blind. A letter after it
names a part (`r1a w2b`). Everything is one resource; sources, candidates and other strands are tested in plain words.
"""

import gc
import re
import weakref
from typing import Any

import pytest

from noclobber import strands
from noclobber.access import Access, Call
from noclobber.bases import RESOURCES_MAX, UNSEEN_MAX, Bases
from noclobber.contract import Attr, Op, Outcome, VersionKind
from noclobber.scope import Scope
from noclobber.strands import Strand
from noclobber.versions import fingerprint_parts


class Process:
    """Feeds accesses to `Bases`, as the drain does."""

    def __init__(self) -> None:
        self.bases = Bases()
        self.strand = Strand()
        self.now = 0

    def do(self, *accesses: Access, strand: Strand | None = None, scope: Scope | None = None) -> dict[str, Any]:
        call = Call()
        call.strand = strand or self.strand
        call.count, call.seq, call.more = len(accesses), call.strand.take(len(accesses)), ()
        call.scope = scope
        self.now += 10
        call.start_ns, call.end_ns = self.now - 5, self.now
        self.bases.resolve(call, accesses)
        return dict(accesses[-1].attributes)

    def read(self, version: str, *part: str, resource: str = "x", **words: Any) -> dict[str, Any]:
        return self.do(got(version, *part, resource=resource), **words)

    def write(
        self, version: str, *part: str, resource: str = "x", txn: tuple[str, str] | None = None, **words: Any
    ) -> Any:
        return self.do(made(version, *part, resource=resource, txn=txn), **words).get(Attr.VERSION_BASE)

    def end(self, op: Op, txn: str, path: str = "", outcome: Outcome = Outcome.OK) -> None:
        attributes: dict[str, Any] = {Attr.TXN_ID: txn} | ({Attr.TXN_SAVEPOINT: path} if path else {})
        self.do(Access(op, "db", "test", outcome, attributes=attributes))


def got(version: str, *part: str, resource: str = "x", parts: dict[str, str] | None = None) -> Access:
    return Access(
        Op.READ, resource, "test", part=tuple(part), part_versions=parts,
        attributes={Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_READ: version},
    )  # fmt: skip


def made(
    version: str, *part: str, resource: str = "x", txn: tuple[str, str] | None = None,
    outcome: Outcome = Outcome.OK, op: Op = Op.WRITE,
) -> Access:  # fmt: skip
    attributes: dict[str, Any] = {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: version}
    if txn:
        attributes |= {Attr.TXN_ID: txn[0]} | ({Attr.TXN_SAVEPOINT: txn[1]} if txn[1] else {})
    return Access(
        op, resource, "test", outcome, part=tuple(part), attributes=attributes, finds_base=op is not Op.UPDATE
    )


STORIES = [
    "w1=-", "r1 w2=1", "r1 w2=1 w3=2", "r1 r2 w3=2", "r1 w2=1 r5 w6=5",
    "r1a w2a=1", "r1a w2b=-", "r1a w2=-", "r1 w2a=-", "r1a r2b w3a=1 w4b=2 w5a=3",
    "r1 w2a=- w3=-", "r1a w2=- w3a=-", "r1a w2a=1 w3a=2",
]  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_stories(story: str) -> None:
    """The base is the newest of just these parts that the strand got or made."""
    process = Process()
    for word in story.split():
        kind, version, part, _, base = re.fullmatch(r"([rw])(\d)([a-z]?)(=(.))?", word).groups()  # type: ignore[union-attr]
        if kind == "r":
            process.read(version, *part)
        else:
            assert (word, process.write(version, *part)) == (word, None if base == "-" else base)


def test_parts_of_a_whole() -> None:
    """A row read as a whole gives each of its columns a base, and each write of a column brings the row up to date."""
    process = Process()
    parts = {"a": "a1", "b": "b1"}
    process.do(got(fingerprint_parts(parts), parts=parts))
    assert process.write("a2", "a") == "a1"
    assert process.write("b2", "b") == "b1"
    assert process.write("a3", "a") == "a2"
    assert process.write("whole") == fingerprint_parts({"a": "a3", "b": "b2"})


def test_several_parts_are_put_together_from_the_newest_of_each() -> None:
    """A write of two columns has the print over both as they were last known, and the weaker source."""
    process = Process()
    process.do(got("?", "a", "b", parts={"a": "a1", "b": "b1"}))
    process.read("a2", "a")
    found = process.do(made("new", "a", "b"))
    assert found[Attr.VERSION_BASE] == fingerprint_parts({"a": "a2", "b": "b1"})
    assert (found[Attr.VERSION_BASE_SOURCE], found[Attr.VERSION_BASE_SEQ]) == ("observed", 2)


def test_sources() -> None:
    """Observed inside a step, recalled from an earlier step of the run, remembered from another run."""
    process = Process()
    one, two, other = Scope(run="r", step="1", unit="u1"), Scope(run="r", step="2", unit="u2"), Scope(run="q", step="3")
    process.read("1", scope=one)
    sources = [process.do(made("2"), scope=scope)[Attr.VERSION_BASE_SOURCE] for scope in (one,)]
    process.read("3", scope=one)
    sources.append(process.do(made("4"), scope=two)[Attr.VERSION_BASE_SOURCE])
    process.read("5", scope=one)
    sources.append(process.do(made("6"), scope=other)[Attr.VERSION_BASE_SOURCE])
    assert sources == ["observed", "recalled", "remembered"]


def test_two_passes_through_one_step_are_two_units() -> None:
    """A step's name may repeat; its unit does not."""
    process = Process()
    process.read("1", scope=Scope(run="r", step="same", unit="u1"))
    found = process.do(made("2"), scope=Scope(run="r", step="same", unit="u2"))
    assert found[Attr.VERSION_BASE_SOURCE] == "recalled"


def test_candidates_are_what_the_unit_read_before() -> None:
    """A value read twice has the older version as candidate; an own write settles it."""
    process = Process()
    process.read("1")
    process.read("2")
    found = process.do(made("3"))
    assert (found[Attr.VERSION_BASE], found[Attr.VERSION_CANDIDATES]) == ("2", ("1",))
    process.read("3")
    assert Attr.VERSION_CANDIDATES not in process.do(made("4"))


def test_a_rejected_guard_begins_the_unit_anew() -> None:
    """After a rejection what was read before is no candidate; without a new read the base stays."""
    process = Process()
    process.read("1")
    process.do(made("2", outcome=Outcome.REJECTED))
    assert process.write("2") == "1"
    process.read("5")
    process.do(made("6", outcome=Outcome.REJECTED))
    process.read("7")
    found = process.do(made("8"))
    assert (found[Attr.VERSION_BASE], found.get(Attr.VERSION_CANDIDATES)) == ("7", None)


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.ERROR, Outcome.UNKNOWN])
def test_what_was_not_applied_is_not_known(outcome: Outcome) -> None:
    """Only an applied write is an own version."""
    process = Process()
    process.read("1")
    process.do(made("2", outcome=outcome))
    assert process.write("3") == "1"


@pytest.mark.parametrize("end", ["abort", "commit rejected", "commit error"])
def test_a_rolled_back_write_is_taken_out_again(end: str) -> None:
    """What was known before it holds again, also where it was read back inside the transaction."""
    process = Process()
    process.read("1")
    assert process.write("2", txn=("t", "")) == "1"
    process.do(got("2"))
    assert process.write("3", txn=("t", "")) == "2"
    op, _, outcome = end.partition(" ")
    process.end(Op(op), "t", outcome=Outcome(outcome or "ok"))
    assert process.write("4") == "1"


def test_a_committed_write_stays() -> None:
    """Its version is the strand's own."""
    process = Process()
    process.read("1")
    process.write("2", txn=("t", ""))
    process.end(Op.COMMIT, "t")
    assert process.write("3") == "2"


def test_a_rolled_back_savepoint_takes_back_only_its_own() -> None:
    """The path decides: 1/2 is inside 1, 2 is not."""
    process = Process()
    process.write("1", txn=("t", ""))
    process.write("2", txn=("t", "1"))
    process.write("3", txn=("t", "1/2"))
    process.end(Op.ABORT, "t", "1/2")
    assert process.write("4", txn=("t", "1")) == "2"
    process.end(Op.ABORT, "t", "1")
    assert process.write("5", txn=("t", "10")) == "1"
    process.end(Op.ABORT, "t", "1")
    assert process.write("6", txn=("t", "")) == "5"
    process.end(Op.ABORT, "t")
    assert process.write("7") is None


def test_a_rollback_reaches_who_has_waited() -> None:
    """A version that a joined strand made is gone for the waiter too once its transaction is rolled back."""
    process, child = Process(), Strand()
    process.read("1")
    process.bases.spawned(process.strand, child)
    process.write("2", txn=("t", ""), strand=child)
    process.bases.joined(process.strand, child)
    process.end(Op.ABORT, "t")
    assert process.write("3") == "1"


def test_racing_strands_teach_each_other_nothing() -> None:
    """A child starts with what its parent knew; neither learns of the other until they join."""
    process, child = Process(), Strand()
    process.read("1")
    process.bases.spawned(process.strand, child)
    process.read("2")
    assert process.write("3", strand=child) == "1"
    assert process.write("4") == "2"
    process.read("5", strand=child)
    process.bases.joined(process.strand, child)
    assert process.write("6") == "5"


def test_a_join_takes_the_newer_of_each() -> None:
    """What the waiter learnt later than the other stays."""
    process, child = Process(), Strand()
    process.bases.spawned(process.strand, child)
    process.read("1", strand=child)
    process.read("7", "p", resource="y", strand=child)
    process.read("2")
    process.bases.joined(process.strand, child)
    assert (process.write("3"), process.write("8", "p", resource="y")) == ("2", "7")


def test_a_lost_call_takes_away_what_is_older() -> None:
    """A lost read may have been newer than all that is known: an older base would accuse. What follows is known."""
    process = Process()
    process.read("1")
    process.strand.lose(1)
    assert process.write("2") is None
    assert process.write("3") == "2"


def test_a_loss_reaches_who_comes_after_it() -> None:
    """Whoever joins a strand that lost something distrusts what is older too; once, not for ever."""
    process, child = Process(), Strand()
    process.read("1")
    process.bases.spawned(process.strand, child)
    child.lose(1)
    process.bases.joined(process.strand, child)
    assert process.write("2") is None
    process.bases.joined(process.strand, child)
    assert process.write("3") == "2"
    grandchild = Strand()
    process.bases.spawned(process.strand, grandchild)
    process.bases.joined(process.strand, grandchild)
    assert process.write("4") == "3"


def test_updates_that_tell_their_result_are_own_versions() -> None:
    """After an increment the strand knows what it made."""
    process = Process()
    process.read("1")
    process.do(made("2", op=Op.UPDATE))
    assert process.write("3") == "2"


def test_a_deleted_container_takes_all_below() -> None:
    """Nothing below is known afterwards."""
    process = Process()
    process.read("1", resource="db/a")
    process.do(Access(Op.DELETE, "db/", "test"))
    assert process.write("2", resource="db/a") is None


def test_what_one_call_got_is_no_base_of_what_it_wrote() -> None:
    """In a batch writes have what was known before it, and what the batch itself wrote."""
    process = Process()
    process.read("1")
    batch = [got("9"), made("2"), made("3")]
    process.do(*batch)
    assert [each.attributes.get(Attr.VERSION_BASE) for each in batch] == [None, "1", "2"]
    assert process.write("4") == "3"


def test_memory_is_bounded() -> None:
    """The resources that were touched longest ago go first, and are counted."""
    process = Process()
    for number in range(RESOURCES_MAX + 10):
        process.read("1", resource=f"r{number}")
    assert process.bases.forgotten == 10
    assert (process.write("2", resource="r10"), process.write("2", resource="r9")) == ("1", None)


def test_knowledge_goes_with_its_strand() -> None:
    """A strand that nobody holds any more leaves nothing behind."""
    process = Process()
    gone = []
    for _ in range(100):
        child = Strand()
        process.bases.spawned(process.strand, child)
        process.read("1", strand=child)
        gone.append(weakref.ref(child))
    del child
    gc.collect()
    assert not any(each() for each in gone)
    assert strands.current() is not process.strand


def looked(resource: str) -> Access:
    return Access(Op.SCAN, resource, "test", attributes={Attr.PARTIAL: True}, unseen=True)


def is_partial(process: Process, resource: str, strand: Strand | None = None) -> bool:
    return Attr.PARTIAL in process.do(made("9", resource=resource), strand=strand)


def test_a_write_from_before_an_unseen_look_is_partial() -> None:
    """What was got unseen may be newer than what is known, here and below; what is learnt later is newer than it."""
    process = Process()
    process.read("1", resource="t/a")
    process.read("1", resource="t/ab")
    process.read("1", resource="u/a")
    process.do(looked("t/"))
    assert (is_partial(process, "t/a"), is_partial(process, "t/new"), is_partial(process, "u/a")) == (True, True, False)
    assert not is_partial(process, "t/a")  # its own write is newer
    process.read("2", resource="t/ab")
    assert not is_partial(process, "t/ab")
    process.do(looked("u/a"))
    assert (is_partial(process, "u/a"), is_partial(process, "u/ab")) == (True, False)
    process.read("3", resource="v/a")
    process.do(Access(Op.WRITE, "v/?1", "test", unseen="v/"))
    assert is_partial(process, "v/a")


def test_unseen_looks_are_known_to_children_and_waiters() -> None:
    """Who starts after an unseen look, or waited for whoever looked, may know more than is remembered."""
    process, parent, child, waiter = Process(), Strand(), Strand(), Strand()
    process.read("1", resource="t/a", strand=parent)
    process.read("1", resource="t/a", strand=waiter)
    process.do(looked("t/"), strand=parent)
    process.bases.spawned(parent, child)
    assert is_partial(process, "t/a", child)
    process.bases.joined(waiter, parent)
    process.do(made("8", resource="t/b"), strand=waiter)
    assert is_partial(process, "t/a", waiter)


def test_too_many_unseen_looks_count_for_everything() -> None:
    """Beyond the limit nothing is forgotten: all that was known before is suspect."""
    process = Process()
    process.read("1", resource="elsewhere")
    for number in range(UNSEEN_MAX + 1):
        process.do(looked(f"t{number}/"))
    assert is_partial(process, "elsewhere")
    process.read("2", resource="elsewhere")
    assert not is_partial(process, "elsewhere")
