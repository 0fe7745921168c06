"""Phantoms: one unit asked the same twice, and other members were there."""

import msgspec
import pytest

from noclobber.contract import Op, VersionKind
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story, told

COUNTER, PRINT = VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("A[ Aqx1y1 Biz1 Aqx1y1z1 A]", "certain", id="one came"),
        pytest.param("A[ Aqx1y1 Bdy Aqx1 A]", "certain", id="one went"),
        pytest.param("A[ Aqxy Biz1 Aqxyz A]", "likely", id="ids only, and who did it is known"),
        pytest.param("A[ Aqxy Aqxyz A]", "possible", id="ids only, and nobody knows who"),
        pytest.param("A[ Aqx1y1 Aiz1 Aqx1y1z1 A]", None, id="its own insert"),
        pytest.param("A[ Aqx1y1 Aqx1y1 A] Biz1", None, id="the same twice"),
        pytest.param("A[ Aqx1 Biz1 A] A[ Aqx1z1 A]", None, id="two transactions"),
        pytest.param("Aqx1 Biz1 Aqx1z1 Aqx1z1", None, id="a step that only looks"),
        pytest.param("Aqx1 Biz1 Aqx1z1 Ae9", "possible", id="a step that acts on it"),
        pytest.param("A[ Aqx1 Biz1 Aqx1z1 A}", "possible", id="taken back: perhaps never used"),
        pytest.param("A[ Aqx1 Awq2<1!rejected Biz1 Aqx1z1 A]", None, id="refused, so it began anew"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [COUNTER, PRINT])
def test_phantom_read(story: str, expected: str | None, kind: VersionKind) -> None:
    """Each unit, container and predicate is one finding."""
    lines = [line for line in told(story, kind=kind) if line.startswith("phantom")]
    assert [line.split()[1] for line in lines] == ([expected] if expected else [])


@pytest.mark.parametrize(("approximate", "parts"), [(True, None), (False, 2)])
def test_what_a_scan_leaves_out(approximate: bool, parts: int | None) -> None:
    """An approximate result, or one of which a part is missing, proves nothing."""
    builder = HistoryBuilder()
    for access in Story(kind=COUNTER).accesses("A[ Aqx1 Biz1 Aqx1z1 A]"):
        if access.op is Op.SCAN and access.scan is not None:
            scan = msgspec.structs.replace(
                access.scan, id=access.span_id, approximate=approximate, part=1 if parts else None, parts=parts
            )
            access.scan = scan
        builder.add(access, access.name)
    assert not [f for f in evaluate(builder.finish(ended=True)).findings if f.kind == "phantom_read"]


def test_only_the_number_is_known() -> None:
    """Different counts are a possibility, and the members would decide."""
    builder = HistoryBuilder()
    for access in Story(kind=COUNTER).accesses("A[ Aq Aq A]"):
        if access.op is Op.SCAN and access.scan is not None:
            access.scan = msgspec.structs.replace(access.scan, count=access.seq)
        builder.add(access, access.name)
    (finding,) = evaluate(builder.finish(ended=True)).findings
    assert (finding.kind, finding.certainty) == ("phantom_read", "possible")
    assert "only their number is known" in finding.missing[0]
