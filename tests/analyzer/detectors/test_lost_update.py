"""Lost updates: every way in which one is proven, and beside each the near miss that must stay silent."""

import pytest

from noclobber.contract import BaseSource, Guard, Op, VersionKind
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story, judge, told

CERTAIN = ["lost_update certain x A>B"]
LIKELY = ["lost_update likely x A>B"]
POSSIBLE = ["lost_update possible x A>B"]
COUNTER, ORDERED, CHAIN = VersionKind.COUNTER, VersionKind.ORDERED, VersionKind.CHAIN


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Arx1 Brx1 Awx2<1^1 Bwx3<1^2", CERTAIN, id="the store says that another version was replaced"),
        pytest.param("Arx1 Brx1 Awx2<1^1 Bwx3<2^2", [], id="it had seen what it replaced"),
        pytest.param("Arx1 Awx2<1^1 Awx3<2^2", [], id="its own write"),
        pytest.param("Brx1 Bwx3<1^2", ["lost_update certain x B"], id="by a writer that nobody captured"),
        pytest.param("Brx1 Bux Bwx3<1^2", ["lost_update possible x B"], id="its own script may have made it"),
        pytest.param("Brx1 Bwx2<1!unknown Bwx3<1^2", [], id="its own unanswered write made it"),
        pytest.param("Arx1 Brx1 Awx2<1 Bwx3<1", LIKELY, id="by one clock: it came between the read and the write"),
        pytest.param("Arx1 Awx2<1 Brx2 Bwx3<2", [], id="one after the other"),
        pytest.param("Brx1 Aux2 Bwx3<1", LIKELY, id="an increment is lost, too"),
        pytest.param("Brx1 Aux2 Bdx<1", LIKELY, id="by a delete"),
        pytest.param("Arx1 Brx1 Awx2<1!rejected Bwx3<1", [], id="what was refused is not lost"),
        pytest.param("Arx1 Brx1 Awx2<1!error Bwx3<1", [], id="what failed is not lost"),
        pytest.param("Arx1 Brx1 Awx2<1!unknown Bwx3<1", POSSIBLE, id="perhaps it was never applied"),
        pytest.param("Arx1 Brx1 Awx2<1 Awx1<2 Bwx3<1", [], id="the very same content was put back"),
        pytest.param("Arx1 Brx1 Awx2<1= Bwx2<1=", LIKELY, id="both added the same amount"),
        pytest.param("Arx1 Brx1 Awx2<1 Bwx2<1", POSSIBLE, id="both wrote the same, and it is no number"),
        pytest.param("Arx1 Brx1 Awx2<1 Bwx1<1", [], id="it wrote what it had read"),
        pytest.param("Arx1 Brx1 (Awx2<1 Bwx3<1)", LIKELY, id="the two writes overlap, both decided before either"),
        pytest.param("Arx1 (Awx2<1 Brx1) Bwx3<1", LIKELY, id="the read overlapped, but did not return it"),
        pytest.param("Arx1% (Awx2<1 Brx1%) Bwx3<1", LIKELY, id="the same with a value too common to be unique"),
        pytest.param("Arx1% (Brx1% Awx2<1) Bwx3<1", LIKELY, id="the same, the read called first"),
        pytest.param(
            "Arx1% (Awx2<1 Cwx1% Brx1%) Bwx3<1", POSSIBLE, id="but somebody may have put it back before the read"
        ),
        pytest.param(
            "Arx1 (Awx2<1 Brx9) Bwx3<9", POSSIBLE, id="the read overlapped; who made what it returned is lost"
        ),
        pytest.param("Arx1 (Awx2<1 Brx2) Bwx3<2", [], id="the read overlapped and returned it"),
        pytest.param("Arx1 Brx1 Awx2<1? Bwx3<1", POSSIBLE, id="captured in part only"),
        pytest.param("Arx1 Brx0 Brx2 Awx2<1^1 Bwx3<2^2~0", POSSIBLE, id="it may have used the older of its reads"),
        pytest.param("Brx0 Brx1 Awx2<1 Bwx3<1^2~0", CERTAIN, id="it holds for each version that it had read"),
        pytest.param("Brx1 Adx<1 | Bwx3<1^absent", CERTAIN, id="a deletion is lost"),
        pytest.param("Brx1 | Bwx3<1^absent", [], id="it had expired"),
    ],
)
def test_by_evidence(story: str, expected: list[str]) -> None:
    """Each piece of evidence gives its grade and nothing more."""
    assert told(story) == expected


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Arx1 Brx1 Awx2<1 Bwx3<1", COUNTER, CERTAIN, id="a number was skipped"),
        pytest.param("Arx1 Awx2<1 Brx2 Bwx3<2", COUNTER, [], id="no number was skipped"),
        pytest.param("Brx1 Bwx2<1 Bwx3<2", COUNTER, [], id="its own numbers"),
        pytest.param("Brx1 Bwx4<1", COUNTER, ["lost_update certain x B"], id="numbers of nobody captured"),
        pytest.param("A[ Arx1 Awx2<1 A} Brx1 Bwx2<1", COUNTER, [], id="the number of an aborted write is used again"),
        pytest.param("Arx1 Brx1 Awx5<1 Bwx9<1", ORDERED, CERTAIN, id="a captured number lies in between"),
        pytest.param("Brx1 Bwx9<1", ORDERED, [], id="numbers may jump"),
        pytest.param("Arx1 Brx1 Awx2<1 Bwx3<1", CHAIN, CERTAIN, id="two overwrites of one base"),
        pytest.param("Arx1 Awx2<1 Brx1 Bwx3<1", CHAIN, [], id="its base was read after the other had been there"),
        pytest.param(
            "Arx1 Brx1 Awx2<1^1 Crx2 Cwx3<2^2 Bwx4<1^3", CHAIN, ["lost_update certain x C>B"], id="two in between"
        ),
    ],
)
def test_by_version_kind(story: str, kind: VersionKind, expected: list[str]) -> None:
    """Numbers and chains prove what clocks only make likely."""
    assert [line for line in told(story, kind=kind) if line.startswith("lost_update")] == expected
    others = ("stale_read", "unknown_writer")
    assert [line for line in told(story, kind=kind) if not line.startswith(others)] == expected


@pytest.mark.parametrize(
    ("source", "recorded", "plain"),
    [
        (BaseSource.EXPLICIT, CERTAIN, LIKELY),
        (BaseSource.OBSERVED, CERTAIN, LIKELY),
        (BaseSource.RECALLED, CERTAIN, LIKELY),
        (BaseSource.REMEMBERED, POSSIBLE, POSSIBLE),
    ],
)
def test_source_of_base(source: BaseSource, recorded: list[str], plain: list[str]) -> None:
    """Where the base came from limits how sure it is; what the store itself said lifts `recalled`."""
    assert told("Arx1 Brx1 Awx2<1^1 Bwx3<1^2", source=source) == recorded
    assert told("Arx1 Brx1 Awx2<1 Bwx3<1", source=source) == plain


@pytest.mark.parametrize("guard", [Guard.VERSION, Guard.UNIQUE])
def test_guarded(guard: Guard) -> None:
    """A store that compared the base applied the write rightly, whatever it looks like."""
    assert told("Arx1 Brx1 Awx2<1 Bwx3<1", guard=guard) == []


def test_lock_with_proof_against_it() -> None:
    """A lock defends nothing where the clock places a write between base and write."""
    assert told("Arx1 Brx1 Awx2<1 Bwx3<1", guard=Guard.LOCK) == LIKELY


@pytest.mark.parametrize(
    ("clocks", "expected"), [("one", LIKELY), ("host", LIKELY), ("apart", LIKELY)], ids=["clock", "host", "apart"]
)
def test_clocks_with_a_unique_base(clocks: str, expected: list[str]) -> None:
    """Two writes from one unique print are told without any clock; far enough apart the host's clock tells, too."""
    assert told("Arx1 | Brx1 | Awx2<1 | Bwx3<1", clocks=clocks) == expected


def test_clocks_apart_never_order() -> None:
    """Machines' clocks order nothing: with a print too common to mean anything it may have been either way."""
    assert told("Arx1% Brx1% Awx2<1% Bwx3<1%", clocks="apart") == [
        "lost_update possible x A>B",
        "lost_update possible x B>A",
    ]


def test_weak_print_on_one_clock() -> None:
    """A weak print links nothing, but the clock speaks."""
    assert told("Arx1% Brx1% Awx2<1% Bwx3<1%") == LIKELY


def test_not_verbatim() -> None:
    """A request's and a reply's print may differ for one state: `over` is a reply, a base that was written is not."""
    assert told("Awx2 Awx3<2^9", verbatim=False) == []
    assert told("Arx2 Awx3<2^9", verbatim=False) == ["lost_update certain x A"]


def test_row_locks() -> None:
    """Under row locks the call that returned first came first, even if the other was called before its commit."""
    assert told("A[ B[ Arx1 Brx1 Awx2<1 A] Bwx3<1 B]") == LIKELY
    assert told("A[ B[ Arx1 Brx1 Awx2<1 A} Bwx3<1 B]") == []


def test_own_earlier_transaction() -> None:
    """What a strand wrote itself, in another transaction before, it has seen."""
    assert told("A[ Arx1 Awx2<1 A] A[ Awx3<2 A]") == []


def test_serializable_rejected() -> None:
    """A serializable transaction that was refused is one defended access and part of no finding."""
    evaluation = judge("A[s B[s Arx1 Brx1 Awx2<1 A] Bwx3<1 B]!rejected")
    assert evaluation.findings == []
    assert [str(each.reason) for each in evaluation.defended] == ["serializable"]


def test_ordered_victim() -> None:
    """Who waited for the victim and still writes an old value loses it without any race, with less severity."""
    raced = judge("Arx1 Brx1 Awx2<1 Bwx3<1").findings[0]
    waited = judge("Brx1 B*A Arx1 Awx2<1 B+A Bwx3<1").findings[0]
    assert (raced.kind, waited.kind) == ("lost_update", "lost_update")
    assert waited.severity.rank < raced.severity.rank


def test_lost_span_makes_no_finding() -> None:
    """A write whose span was lost may be its own: with the hole in the strand nothing is certain."""
    assert told("Brx1 Bux2 Bwx3<1^2") == []
    assert told("Brx1 Bux2 Bwx3<1^2", lost=(1,)) == ["lost_update possible x B"]


def test_story_holds_the_window() -> None:
    """The model call between read and write is part of the story, and the sentence says so."""
    finding = judge("Arx1 Brx1 Bm Awx2<1 Bwx3<1").findings[0]
    assert [access.role for access in finding.accesses] == ["reader", "stale_read", "victim", "model", "overwriter"]
    assert "a model call filled" in finding.explanation
    assert finding.also == ("stale_write",)


def test_three_writers() -> None:
    """Of three writers from one base two lost: each overwriting write is one finding."""
    assert told("Arx1 Brx1 Crx1 Awx2<1^1 Bwx3<1^2 Cwx4<1^3") == [
        "lost_update certain x A>B",
        "lost_update certain x B>C",
    ]


def test_a_pair_is_lost_once() -> None:
    """B was called first and made to wait, so A's write is inside B's: A came first, and that is all."""
    builder = HistoryBuilder()
    for access in Story().accesses("Arx1 Brx1 A[ B[ (Bwx3<1 Awx2<1) A] B]"):
        if access.strand == "A" and access.op is Op.WRITE:
            access.end_ns = access.start_ns + 1000
        builder.add(access, access.name)
    (finding,) = evaluate(builder.finish(ended=True)).findings
    assert [(each.role, each.strand) for each in finding.accesses[-2:]] == [("victim", "A"), ("overwriter", "B")]


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param("Arx1 Brx1 Awx2 Bwx3", (), POSSIBLE, id="nothing is lost"),
        pytest.param("Arx1 Brx1 Awx2 Bwx3", (1,), POSSIBLE, id="the read is lost"),
        pytest.param("Awx2 B[ B] B[ Brx1 Bwx3 B]", (4,), [], id="the other write came before what is lost"),
        pytest.param("Awx2 Bwx3", (), [], id="blind"),
        pytest.param("Arx1 Brx1 Awx2 Cwx4 Bwx3", (), ["lost_update possible x C>B"], id="two of others, in order"),
    ],
)
def test_without_versions(story: str, lost: tuple[int, ...], expected: list[str]) -> None:
    """Without versions only time tells; a span that is lost may have been the read."""
    lines = told(story, kind=None, lost=lost)
    assert [line for line in lines if line.startswith("lost_update")] == expected


def test_one_hold_of_a_lock_defends_until_something_places_the_other_write() -> None:
    """Clocks that do not compare leave open what lay in between; a lock that covers read and write does not."""
    locked = "Al1 Arx1 Awx2<1 An1 Bl2 Brx1 Bwx3<1 Bn2"
    lines = told(locked, kind=None, clocks="apart", lost=(3,))
    assert [line for line in lines if line.startswith("lost_update")] == []
    for story in ("Al1 Arx1 Awx2<1 An1 Brx1 Bl2 Bwx3<1 Bn2", "Al1 Arx1 Awx2<1 An1 Brx1 Bwx3<1"):
        lines = told(story, kind=None, clocks="apart", lost=(3,))
        assert any(line.startswith("lost_update possible") for line in lines)


@pytest.mark.parametrize("end", ["}", "]!rejected"], ids=["rolled back", "refused at the end"])
def test_its_own_write_that_was_taken_back_made_nothing(end: str) -> None:
    """The number that it had made in vain was made again by another, whose work it then replaced; its read is lost."""
    story = f"Crx1 Cwx2<1 B[ Bwx3<2 B{end} A[ Arx2 Awx3<2 A] B[ Brx2 Bwx4<2 B]"
    lines = told(story, kind=COUNTER, lost=(10,))
    assert [line for line in lines if line.startswith("lost_update")] == POSSIBLE


def test_of_two_pairs_the_surer_hides_no_other() -> None:
    """Whose work was surely lost may itself have replaced somebody's: both are told."""
    story = "Crx1 Cwx2<1 B[ Bwx3<2 B} A[ Arx2 Awx3<2 A] B[ Brx2 Bwx4<2 B] Drx2 Dwx5<2"
    lines = told(story, kind=COUNTER, lost=(10,))
    assert {line.split()[3] for line in lines if line.startswith("lost_update")} == {"A>B", "B>D"}


def test_the_sentence_names_no_base_that_nobody_knows() -> None:
    """Where it may have used the older of its reads, or nothing tells what it used, the sentence says just that."""
    found = judge("Arx1 Brx0 Brx2 Awx2<1^1 Bwx3<2^2~0", kind=COUNTER).findings
    (older,) = (f for f in found if f.kind == "lost_update")
    assert older.explanation.startswith(
        "`B` wrote `x`, having read version 2 and, before that, version 0, and replaced what `A` had made"
    )
    assert "Nobody recorded which of the two it was computed from" in older.explanation
    (unknown,) = (f for f in judge("Brx Awx Bwx", kind=None).findings if f.kind == "lost_update")
    assert "from" not in unknown.explanation.partition("Nobody recorded what it was computed from")[0]
