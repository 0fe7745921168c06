"""Plans for hypothesis: short stories of few strands, recorded in all the ways that records are poor."""

from hypothesis import strategies as st
from oracle.world import Move, Plan

from noclobber.contract import BaseSource, VersionKind

__all__ = ["complete_plans", "plans"]

VERBS = ("read", "read", "read", "write", "write", "write", "append", "update", "script", "delete", "insert", "expire",
         "begin", "commit", "abort", "take", "release", "ack", "join", "outside-write", "outside-delete")  # fmt: skip


def _moves(
    verbs: tuple[str, ...], parts: tuple[str, ...], *, older: bool = True
) -> st.SearchStrategy[tuple[Move, ...]]:
    move = st.builds(
        Move,
        strand=st.integers(0, 2),
        verb=st.sampled_from(verbs),
        resource=st.sampled_from("xxxy"),
        content=st.sampled_from("pqrs"),
        part=st.sampled_from(parts),
        ends=st.sampled_from(("ok", "ok", "ok", "ok", "unknown", "rejected")),
        early=st.integers(0, 2),
        late=st.integers(0, 2),
        older=st.booleans() if older else st.just(value=False),
    )
    return st.lists(move, min_size=3, max_size=9).map(lambda moves: tuple(map(_plain, moves)))


def _plain(move: Move) -> Move:
    """Only plain writes end otherwise than well; a task is taken as a whole."""
    ends = move.ends if move.verb == "write" else "ok"
    part = move.part if move.verb in ("read", "write", "append", "update") else ""
    return Move(move.strand, move.verb, move.resource, move.content, part, ends, move.early, move.late, move.older)


def plans(kind: st.SearchStrategy[VersionKind] | None = None) -> st.SearchStrategy[Plan]:
    """Any world, any record of it."""
    return st.builds(
        Plan,
        moves=st.one_of(_moves(VERBS, ("",)), _moves(VERBS, ("", "a", "b"))),
        kind=kind or st.sampled_from(VersionKind),
        source=st.sampled_from((BaseSource.OBSERVED, BaseSource.OBSERVED, *BaseSource)),
        tells=st.booleans(),
        clocks=st.sampled_from(("one", "host", "apart")),
        dirty=st.booleans(),
        lost=st.one_of(st.just(()), st.lists(st.integers(0, 8), max_size=2, unique=True).map(tuple)),
        marked=st.booleans(),
        keys=st.sampled_from((False, False, False, True)),
        verbatim=st.sampled_from((True, True, True, False)),
        ttl=st.sampled_from((False, False, True)),
        weak=st.sampled_from(("", "", "p")),
    )


def complete_plans() -> st.SearchStrategy[Plan]:
    """Any world of which everything is on record, on one clock.

    Three things are left out because the contract lets `likely` be wrong about them: from which of two read versions a
    value was computed (it holds for the base, not for each candidate), and whether a write of the whole left one
    field's content as it was (prints of a whole and of a field do not compare), and whether what stood there before
    the record began had the same content as what somebody wrote later.
    """
    verbs = tuple(verb for verb in VERBS if not verb.startswith("outside"))
    numbered = tuple(kind for kind in VersionKind if kind is not VersionKind.FINGERPRINT)
    return st.one_of(
        _complete(_moves(verbs, ("",), older=False), tuple(VersionKind)),
        _complete(_moves(verbs, ("", "a", "b"), older=False), numbered),
    )


def _complete(moves: st.SearchStrategy[tuple[Move, ...]], kinds: tuple[VersionKind, ...]) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        moves=moves,
        kind=st.sampled_from(kinds),
        tells=st.booleans(),
        dirty=st.booleans(),
        ttl=st.sampled_from((False, False, True)),
        first=st.just("i"),
    )
