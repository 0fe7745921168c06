"""Declarations: what owners permit is defended, what they name is compared under one name, what they require holds."""

from pathlib import Path

import pytest

from noclobber.contract import BaseSource
from noclobber.declarations import Declarations, declaration_from
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.invariants import InvariantError, check_invariants, holds
from story import Story

LOST = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2"


def _judge(text: str, *tables: dict[str, object], **told_with: object) -> Evaluation:
    declarations = Declarations([declaration_from(table) for table in tables])
    builder = HistoryBuilder(declarations)
    for access in Story(**told_with).accesses(text):  # type: ignore[arg-type]  # the tests name real fields
        builder.add(access, access.name)
    return evaluate(builder.finish(ended=True), declarations=declarations)


def _kinds(evaluation: Evaluation) -> list[str]:
    return [str(finding.kind) for finding in evaluation.findings]


def _reasons(evaluation: Evaluation) -> list[str]:
    return [str(each.reason) for each in evaluation.defended]


@pytest.mark.parametrize(
    ("policy", "story", "left"),
    [
        ("last_writer_wins", LOST, []),
        ("cache", LOST, []),
        ("append_only", LOST, ["lost_update"]),
        ("closed", LOST, ["lost_update"]),
        ("append_only", "Aax1 Bax2 Aax3 Bax4", []),
        ("last_writer_wins", "Aax1 Bax2 Aax3 Bax4", ["interleaved_writes"]),
        ("last_writer_wins", "As7 Bg7 Cg7", ["double_claim"]),
        ("last_writer_wins", "Awx1 Bwx2", []),
        ("last_writer_wins", "A[ Awx2 Brx2 A}", ["dirty_read"]),
        ("cache", "Awx1 Bwx2<1 Arx1", []),
        ("cache", "Awx1 Awx2<1 Arx1", []),
        ("cache", "Awx1 Brx2", []),
        ("cache", "A[ Awx2 Brx2 A}", ["dirty_read"]),
        ("closed", "Awx1 Brx2", ["garbage_read"]),
        ("last_writer_wins", "Awx1 Brx2", ["unknown_writer"]),
        ("append_only", "Awx1 Brx2", ["unknown_writer"]),
    ],
)
def test_policy(policy: str, story: str, left: list[str]) -> None:
    """A policy permits its kinds and no other; what it permits is counted as declared."""
    evaluation = _judge(story, {"pattern": "mem://x", "policy": policy})
    assert _kinds(evaluation) == left
    assert ("declared" in _reasons(evaluation)) == (not left)


def test_policy_of_another_resource() -> None:
    """A policy permits nothing elsewhere."""
    evaluation = _judge(LOST, {"pattern": "mem://y", "policy": "last_writer_wins"})
    assert (_kinds(evaluation), _reasons(evaluation)) == (["lost_update"], [])


def test_ignore() -> None:
    """What is ignored takes part in nothing, and leaves no hole."""
    evaluation = _judge(LOST, {"pattern": "mem://x", "ignore": True})
    assert (_kinds(evaluation), _reasons(evaluation)) == ([], [])
    evaluation = _judge("Arx1 Brx1 Awx2<1^1 Bwy9 Bwx3<1^2", {"pattern": "mem://y", "ignore": True})
    assert [(str(f.kind), str(f.certainty)) for f in evaluation.findings] == [("lost_update", "certain")]


def test_alias() -> None:
    """Two names of one server are one name before anything is compared."""
    story = "Arx1 Bry1 Awx2<1^1 Bwy3<1^2"
    assert "lost_update" not in {str(f.kind) for f in _judge(story).findings if f.resource == "mem://x"}
    evaluation = _judge(story, {"pattern": "mem://y*", "alias_of": "mem://x"})
    assert [(str(f.kind), f.resource) for f in evaluation.findings] == [("lost_update", "mem://x")]


def test_queue() -> None:
    """In a declared queue a write of a row takes it as a task, and who inserts it takes nothing."""
    story = "Cix1 Arx1 Brx1 Awx2<1 Bwx3<1"
    assert _kinds(_judge(story)) == ["lost_update"]
    (finding,) = _judge(story, {"pattern": "mem://*", "policy": "queue"}).findings
    assert (str(finding.kind), [str(kind) for kind in finding.also]) == ("double_claim", ["lost_update", "stale_write"])
    assert _kinds(_judge("Cix1 Arx1 Awx2<1 Brx2 Bwx3<2", {"pattern": "mem://*", "policy": "queue"})) == []


def test_invariant() -> None:
    """Each write that breaks what held until then is one finding."""
    table = {"pattern": "mem://x", "invariant": "size <= 100"}
    declarations = Declarations([declaration_from(table)])
    accesses = Story().accesses("Awx2 Awx3<2 Awx4<3 Awx5<4 Awx6<5")
    for access, size in zip(accesses, (90, 120, 130, 80, 101), strict=True):
        access.size = size
    builder = HistoryBuilder(declarations)
    for access in accesses:
        builder.add(access, access.name)
    findings = evaluate(builder.finish(ended=True), declarations=declarations).findings
    assert [(str(f.kind), str(f.certainty), f.accesses[0].version_written) for f in findings] == [
        ("invariant_violation", "certain", "3"),
        ("invariant_violation", "certain", "6"),
    ]
    assert findings[0].explanation == ("Since `A` changed `x`, what was declared of `x` does not hold: `size <= 100`.")


@pytest.mark.parametrize(("sizes", "raised"), [((90, 120), True), ((120, 130), False), ((90, 95), False)])
def test_a_finding_that_broke_an_invariant_is_worse(sizes: tuple[int, int], *, raised: bool) -> None:
    """What was lost also made false what its owners declared: one level up, and the sentence says so."""
    findings = []
    for table in ({"pattern": "mem://x", "invariant": "size <= 100"}, {"pattern": "mem://y", "ignore": True}):
        declarations = Declarations([declaration_from(table)])
        accesses = Story(source=BaseSource.RECALLED).accesses("Arx1 Brx1 Awx2<1 Bwx3<1")
        accesses[2].size, accesses[3].size = sizes
        builder = HistoryBuilder(declarations)
        for access in accesses:
            builder.add(access, access.name)
        found = evaluate(builder.finish(ended=True), declarations=declarations).findings
        findings.append(next(finding for finding in found if finding.kind == "lost_update"))
    declared, plain = findings
    broken = max(sizes) > 100
    assert declared.severity.rank - plain.severity.rank == broken
    assert ("does not hold: `size <= 100`" in declared.explanation) == broken
    assert ("invariant_violation" in declared.also) == raised
    assert "does not hold" not in plain.explanation


def test_what_is_permitted_is_not_latent_either() -> None:
    """What owners permit to happen may nearly happen, too; elsewhere it is told."""
    tables = [declaration_from({"pattern": "mem://x", "policy": "last_writer_wins"})]
    history = Story(agents=dict.fromkeys("ABCD", "worker")).history("Arx1 Awx2<1 Brx2 Bwx3<2 Cry1 Cwy2<1 | Dry2 Dwy3<2")
    latent = evaluate(history, latent=True, declarations=Declarations(tables)).findings
    assert [finding.resource for finding in latent] == ["mem://y"]


def test_invariant_seen_by_a_scan() -> None:
    """A scan that shows too many leads back to the last write before it."""
    evaluation = _judge("Aiy1 Biz1 Aqy1z1", {"pattern": "mem://", "invariant": "count <= 1"})
    (finding,) = [f for f in evaluation.findings if f.kind == "invariant_violation"]
    assert (str(finding.certainty), [a.role for a in finding.accesses]) == ("likely", ["broke", "shown"])
    assert finding.accesses[0].resource == "mem://z"


@pytest.mark.parametrize(
    ("invariant", "known", "expected"),
    [
        ("size <= 100", {"size": 100}, True),
        ("0 < version < 10 and not size > 5", {"size": 5, "version": 9}, True),
        ("version == 1 or size != 2 * 3 - 1", {"size": 5, "version": 2}, False),
        ("count <= -1", {"count": 0}, False),
        ("count <= 1", {"size": 7}, None),
    ],
)
def test_holds(invariant: str, known: dict[str, float], expected: bool | None) -> None:
    """Comparisons over what was recorded; None where it was not."""
    assert holds(invariant, known) is expected


@pytest.mark.parametrize(
    "invariant", ["balance > 0", "size", "__import__('os')", "size.real > 0", "'a' == size", "2 ** 9"]
)
def test_what_is_no_invariant(invariant: str) -> None:
    """Nothing but numbers and known names is evaluated, and the reason is said before anything is judged."""
    declarations = Declarations([declaration_from({"pattern": "mem://x", "invariant": invariant})])
    if invariant == "size":
        check_invariants(declarations)  # true while there is anything
        return
    with pytest.raises(InvariantError, match="invariant"):
        check_invariants(declarations)


def test_check_takes_declarations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`noclobber check --config` reads them; one that can't be understood is said in a sentence."""
    from noclobber.cli import main

    empty, config = tmp_path / "run.jsonl", tmp_path / "noclobber.toml"
    empty.write_text("")
    config.write_text('[[resource]]\npattern = "mem://x"\ninvariant = "balance > 0"\n')
    assert main(["check", "--config", str(config), str(empty)]) == 2
    assert "balance" in capsys.readouterr().err
    assert main(["check", "--config", str(tmp_path / "none.toml"), str(empty)]) == 2
    config.write_text('[[resource]]\npattern = "mem://x"\npolicy = "cache"\n')
    assert main(["check", "--config", str(config), str(empty)]) == 0


def test_a_broken_invariant_makes_what_broke_it_worse() -> None:
    """A lost update on a resource of which what was declared does not hold is told so, and counts for more."""

    def lost(*tables: dict[str, object]) -> Finding:
        accesses = Story().accesses("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 | Cwx4<3^3")
        for access, size in zip(accesses, (None, None, 90, 95, 130), strict=True):
            access.size = size
        declarations = Declarations([declaration_from(table) for table in tables])
        builder = HistoryBuilder(declarations)
        for access in accesses:
            builder.add(access, access.name)
        findings = evaluate(builder.finish(ended=True), declarations=declarations).findings
        return next(finding for finding in findings if finding.kind == "lost_update")

    harmed, alone = lost({"pattern": "mem://x", "invariant": "size <= 100"}), lost()
    kept = lost({"pattern": "mem://x", "invariant": "size <= 200"})
    assert harmed.id == alone.id
    assert (kept.severity, kept.explanation) == (alone.severity, alone.explanation)
    assert harmed.severity.rank > alone.severity.rank
    assert harmed.explanation == alone.explanation + " Since then what was declared does not hold: `size <= 100`."
