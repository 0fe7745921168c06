"""From calls to spans, stage by stage: what a call was, what it follows from, how it is told.

A call's way through the drain is some hundred small functions. One call after the other pushes them out of the
processor's nearest cache each time round; a batch that goes through one stage before the next begins finds them there,
which makes the drain a fifth cheaper. No stage looks at what a later one did, so the spans are the same.

Source: Harizopoulos and Ailamaki, "A Case for Staged Database Systems", 2003, section 2 (locality within a module).
"""

from collections.abc import Callable, Sequence
from typing import Final

from noclobber.access import Access, Call
from noclobber.bases import Bases
from noclobber.contract import Op
from noclobber.declarations import Declarations
from noclobber.describing import Describing, accesses_of
from noclobber.guard import GUARD
from noclobber.in_hand import InHand
from noclobber.otlp import Span

__all__ = ["Stages"]

TOGETHER_MAX: Final = 128
"""Calls that go through a stage together: enough for its code to stay near, few enough for their data to."""
_JOIN: Final = Op.JOIN  # an enumeration's member costs as much to look up as a function's call
Told = Sequence[Access] | BaseException | None
"""What a call was; why nobody can say; None where it is no access."""


class Stages:
    """Makes the spans of one process's calls; used by the drain only, which gives it every call, in their order."""

    def __init__(self, describing: Describing, drop: Callable[[Call], None]) -> None:
        self._bases = Bases()
        self._in_hand = InHand()
        self._describing = describing
        self._drop = drop

    def spans(self, calls: Sequence[Call], declared: Declarations) -> list[Span]:
        """The spans of `calls`; one that can't be described is dropped."""
        spans: list[Span] = []
        for start in range(0, len(calls), TOGETHER_MAX):
            together = calls[start : start + TOGETHER_MAX]
            told = [_told(call, declared) for call in together]
            followed = [self._followed(call, each) for call, each in zip(together, told, strict=True)]
            for call, accesses in zip(together, followed, strict=True):
                spans += self._described(call, accesses)
        return spans

    def _followed(self, call: Call, told: Told) -> Sequence[Access]:
        """The accesses of `call`, laid to what its strand knows and has in hand; none where it is none, or lost."""
        try:
            if told is None:
                self._bases.spawned(call.facts, call.strand)
                self._in_hand.spawned(call.facts)
                return ()
            if isinstance(told, BaseException):
                raise told
            if told[0].op is _JOIN:
                self._bases.joined(call.strand, call.facts[0])
            self._in_hand.follow(call, told)
            self._bases.resolve(call, told)
        except BaseException as error:  # a program's own `__repr__` may raise anything
            self._lose(call, error)
            return ()
        return told

    def _described(self, call: Call, accesses: Sequence[Access]) -> Sequence[Span]:
        try:
            if len(accesses) == 1:
                return (self._describing.span(call, call.first_seq, accesses[0]),)
            return [
                self._describing.span(call, seq, access)
                for seq, access in zip(call.seqs, accesses, strict=False)  # as many: `accesses_of`
            ]
        except BaseException as error:
            self._lose(call, error)
            return ()

    def _lose(self, call: Call, error: BaseException) -> None:
        self._drop(call)  # a hole, and counted
        GUARD.caught(error)


def _told(call: Call, declared: Declarations) -> Told:
    try:
        return accesses_of(call, declared) if call.count else None
    except BaseException as error:
        return error
