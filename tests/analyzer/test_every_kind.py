"""Every kind from end to end: a history that shows it, its near miss, the sentence, and what to do about it.

The tables beside the detectors hold each kind to its borders; here each is held to what a person gets to see.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from noclobber.contract import PRECEDENCE, Kind, VersionKind
from noclobber.declarations import Declarations, declaration_from
from noclobber_analyzer.access import Access
from noclobber_analyzer.advice import advise
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.kinds import KINDS
from story import Story

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
AGENTS = {"A": "planner", "B": "reviewer", "C": "writer", "D": "critic"}
SYSTEMS = (
    "redis", "valkey", "postgresql", "mysql", "sqlite", "aws.s3", "file", "langgraph.store", "langgraph.checkpoint",
    "memory", "a store that nobody has heard of",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A history that shows a kind, and one beside it that does not.

    Attributes:
        story, miss: in the language of `story`. agents: whom the sentence names. names: what it calls the resource.
        told_with: settings of both stories. declared: what owners say of `mem://*`.
    """

    story: str
    miss: str
    agents: str = "AB"
    names: str = "x"
    told_with: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, object] = field(default_factory=dict)


def _by(kind: VersionKind, **told_with: object) -> dict[str, Any]:
    return {"kind": kind, **told_with}


SHOWN: dict[Kind, Shown] = {
    Kind.DIRTY_READ: Shown("A[ Awx2 Brx2 A}", "A[ Awx2 A] Brx2"),
    Kind.INTERMEDIATE_READ: Shown("A[ Awx2 Brx2 Awx3 A]", "A[ Awx2 Awx3 A] Brx3"),
    Kind.DIRTY_WRITE: Shown("A[ Awx2^1 B[ Bwx3^2 B] A}", "A[ Awx2^1 A] B[ Bwx3^2 B]"),
    Kind.DOUBLE_CLAIM: Shown("As7 Bg7 Cg7", "As7 Bg7 Bj7 Cg7", agents="BC", names="7"),
    Kind.DUPLICATE_DELIVERY: Shown("As7 Bg7 Bux2 Bg7^2 Bux3 Bk7", "As7 Bg7 Bux2 Bk7", agents="B", names="7"),
    Kind.DUPLICATE_EFFECT: Shown("Afh Afh", "Afh<k Afh<k", agents="A", names="send"),
    Kind.LOCK_VIOLATION: Shown(
        "Al7 Arx1 Bl8 Brx1 Bwx2<1^1 Awx3<1^2 Bn8", "Al7 Arx1 Awx2<1^1 An7 Bl8 Brx2 Bwx3<2^2 Bn8", names="lock"
    ),
    Kind.DEADLOCK: Shown(
        "Alx1 Bly1 (Aly>B!unknown Blx>A!rejected)", "Alx1 Bly1 Aly>B!rejected Blx>A!rejected", names="lockx"
    ),
    Kind.LOST_UPDATE: Shown("Arx1 Brx1 Awx2<1^1 Bwx3<1^2", "Arx1 Awx2<1^1 Brx2 Bwx3<2^2"),
    Kind.FORK: Shown("Arx1 Brx1 Aix2<1 Bix3<1", "Arx1 Aix2<1 Brx2 Bix3<2", told_with=_by(CHAIN)),
    Kind.STALE_WRITE: Shown("Arx1 Brx1 Aax2<1^1 Bax3<1^2", "Arx1 Aax2<1^1 Brx2 Bax3<2^2", told_with=_by(COUNTER)),
    Kind.INTERLEAVED_WRITES: Shown("Aax1 Bax2 Aax3 Bax4", "Aax1 Aax2 Bax3 Bax4", told_with=_by(COUNTER)),
    Kind.READ_YOUR_WRITES: Shown("Awx2<1 Arx1", "Awx2<1 Arx2", agents="A", told_with=_by(COUNTER)),
    Kind.MONOTONIC_READS: Shown("Bwx3 Arx3 Arx2", "Bwx3 Arx2 Arx3", agents="A", told_with=_by(COUNTER)),
    Kind.MONOTONIC_WRITES: Shown("Awx3 Awx2", "Awx2 Awx3", agents="A", told_with=_by(COUNTER)),
    Kind.WRITES_FOLLOW_READS: Shown(
        "Awx1 Awx2<1 Crx2 Cwy1 Bry1 Brx1", "Awx1 Awx2<1 Crx2 Cwy1 Bry1 Brx2", agents="BC",
        told_with=_by(COUNTER, clocks="apart", step=False),
    ),
    Kind.CAUSAL_VIOLATION: Shown(
        "Awx1 Awx2<1 As9 Bg9 Brx1", "Awx1 Awx2<1 As9 Brx1 Bg9", told_with=_by(COUNTER, clocks="apart", step=False)
    ),
    Kind.STALE_READ: Shown("Awx1 Awx2 Brx1", "Awx1 Awx2 Brx2", told_with=_by(COUNTER, step=False)),
    Kind.CIRCULAR_INFORMATION_FLOW: Shown(
        "A[ B[ Awx2 Bwy2 Ary2 Brx2 A] B]", "A[ Awx2 A] B[ Bwy2 Brx2 B]", told_with=_by(CHAIN, clocks="apart")
    ),
    Kind.NON_REPEATABLE_READ: Shown(
        "A[r Arx1 Bwx2<1 Arx2 A]", "A[r Arx1 Arx1 Bwx2<1 A]", told_with=_by(COUNTER)
    ),
    Kind.PHANTOM_READ: Shown(
        "A[ Aqx1 Biy1 Aqx1y1 A]", "A[ Aqx1 Aqx1 Biy1 A]", names="", told_with=_by(COUNTER, predicates=("predicate",))
    ),
    Kind.READ_SKEW: Shown(
        "A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary2 A]", "A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary1 A]", told_with=_by(COUNTER)
    ),
    Kind.LONG_FORK: Shown(
        "A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx1 D]",
        "A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx2 D]",
        agents="ABCD", told_with=_by(COUNTER, clocks="apart"),
    ),
    Kind.WRITE_SKEW: Shown(
        "A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", "A[ Arx1 Ary1 Awx2<1 A] B[ Brx2 Bry1 Bwy2<1 B]",
        told_with=_by(COUNTER),
    ),
    Kind.CHECK_THEN_ACT: Shown("Arx1 Bwx2<1 Afh", "Arx1 Afh Bwx2<1"),
    Kind.SERIALIZATION_CYCLE: Shown(
        "A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 Cwx2<1 A] B] C]", "A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 A] B] C]",
        agents="ABC", told_with=_by(COUNTER),
    ),
    Kind.GARBAGE_READ: Shown("Awx1 Brx2", "Awx1 Brx1", agents="B", declared={"policy": "closed"}),
    Kind.LOST_MESSAGE: Shown(
        "As7<1 As8<2 As9<3 Bg7<1 Bg9<3", "As7<1 As8<2 As9<3 Bg7<1 Bg8<2 Bg9<3", names="8",
        told_with={"system": "kafka", "group": "g"},
    ),
    Kind.OUT_OF_ORDER: Shown(
        "As7<1 As8<2 Bg8<2 Bk8 Bg7<1 Bk7", "As7<1 As8<2 Bg7<1 Bk7 Bg8<2 Bk8", agents="B", names="7",
        told_with={"system": "kafka", "group": "g", "key": "k"},
    ),
    Kind.UNKNOWN_WRITER: Shown("Awx1 Brx2", "Brx2 Awx1 Brx1", agents="B"),
    Kind.BLIND_OVERWRITE: Shown("Awx1 Bwx2", "Awx1 Brx1 Bwx2<1"),
    Kind.INVARIANT_VIOLATION: Shown(
        "Awx2 Awx3<2", "Awx1 Awx2<1", agents="A", told_with=_by(COUNTER), declared={"invariant": "version <= 2"}
    ),
}  # fmt: skip


def _found(kind: Kind, story: str, shown: Shown) -> list[Finding]:
    told = Story(**({"agents": AGENTS} | shown.told_with))  # type: ignore[arg-type]  # real fields
    declarations = Declarations([declaration_from({"pattern": "mem://*", **shown.declared})] if shown.declared else [])
    builder = HistoryBuilder(declarations)
    accesses: list[Access] = told.accesses(story)
    for access in accesses:
        builder.add(access, access.name)
    findings = evaluate(builder.finish(ended=True), declarations=declarations).findings
    return [finding for finding in findings if finding.kind == kind]


def test_all_are_shown() -> None:
    """No kind of the contract is left out, here or in the table of kinds."""
    assert list(KINDS) == sorted(Kind, key=PRECEDENCE.__getitem__)
    assert SHOWN.keys() == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_found_and_told(kind: Kind) -> None:
    """It is found, told in a sentence that names who and what, and says what is missing unless it is certain."""
    shown = SHOWN[kind]
    finding, *_ = _found(kind, shown.story, shown)
    text = finding.explanation
    assert re.fullmatch(r"[A-Z`].+\.", text), text
    assert not re.search(r"\bNone\b(?! of)|version a |\{|\bKind\b|\d{15}", text), text
    for strand in shown.agents:
        assert f"`{AGENTS[strand]}`" in text
    assert f"{shown.names}`" in text
    assert 1 <= text.count(". ") + 1 <= 3, "one or two sentences, three at most"
    assert bool(finding.missing) == (finding.certainty != "certain")
    assert all(re.fullmatch(r"\S.*[^.\s]", each) for each in finding.missing)


@pytest.mark.parametrize("kind", list(Kind))
def test_near_miss(kind: Kind) -> None:
    """The same work done a little otherwise is none."""
    shown = SHOWN[kind]
    assert _found(kind, shown.miss, shown) == []


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", list(Kind))
def test_advice(kind: Kind, system: str) -> None:
    """For each store there is something to do and something to copy, with the name of the resource filled in."""
    advice = advise(kind, system, f"{system}://host/db/accounts/id=7")
    assert re.fullmatch(r"[A-Z].+[.)]", advice.text), advice.text
    assert advice.code
    assert "{key}" not in advice.text + advice.code
    assert max(len(line) for line in advice.code.splitlines()) <= 110


def test_advice_is_the_stores_own() -> None:
    """What is lost most often is answered in the words of the store, not in general ones."""
    general = advise(Kind.LOST_UPDATE, "nothing known", "x://y/z")
    own = {system: advise(Kind.LOST_UPDATE, system, "x://y/z") for system in SYSTEMS[:-1]}
    assert all(advice != general for advice in own.values())
    assert "WATCH" in own["redis"].text
    assert "version" in own["postgresql"].code
    assert "IfMatch" in own["aws.s3"].code
    assert "reducer" in own["langgraph.store"].text
    assert "lock" in own["memory"].code
