"""How an access keeps its facts: whatever the form, it says the same, and takes no more room than it needs."""

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noclobber.contract import Guard, Op, Outcome, UnitKind, VersionKind
from noclobber_analyzer import forms
from noclobber_analyzer.access import Access, Process, ids_of, key_of
from noclobber_analyzer.forms import access_of, changed, roomy, told

NEEDED: dict[str, Any] = {
    "trace_id": "a" * 32, "span_id": "b" * 16, "start_ns": 10, "end_ns": 12, "process": Process("p"), "op": Op.READ,
    "resource": "x://1", "system": "x", "agent": "a", "strand": "s", "seq": 1, "unit": "s",
}  # fmt: skip
SAID: dict[str, Any] = {
    "outcome": Outcome.NOT_FOUND, "part": ("p",), "run": "r", "unit_kind": UnitKind.STEP, "read": "1", "weak": True,
    "version_kind": VersionKind.COUNTER, "guard": Guard.LOCK, "locks": ("l",), "verbatim": False, "candidates": ("0",),
    "links": (("c" * 32, "d" * 16, "message"),), "ttl_ms": 5, "size": 0, "strand_parent": "t", "branch": "main",
}  # fmt: skip
FACTS = tuple(name for name in forms.FACTS if name != "key")
ids = st.one_of(
    st.text("0123456789abcdef", min_size=16, max_size=16),
    st.text("0123456789abcdefAF \0é", max_size=33),
)


def _facts(access: Access) -> dict[str, Any]:
    return {name: getattr(access, name) for name in (*FACTS, "trace_id", "span_id", "name")}


@given(st.sets(st.sampled_from(sorted(SAID))), st.randoms())
def test_every_form_says_the_same(names: set[str], mixed: Any) -> None:
    """What was told is found in it, in whatever order; what was not has its default, told or not."""
    facts = {**NEEDED, **{name: SAID[name] for name in names}}
    order = list(facts)
    mixed.shuffle(order)
    access = access_of(**{name: facts[name] for name in order})
    everything = roomy(**facts)
    assert _facts(access) == _facts(everything)
    assert access == access_of(**NEEDED, **{n: SAID.get(n) if n in names else v for n, v in forms.DEFAULTS.items()})
    assert access == changed(everything)
    assert changed(access, outcome=Outcome.OK, read=None) == changed(everything, outcome=Outcome.OK, read=None)
    assert msgspec.json.encode(roomy(**told(access))) == msgspec.json.encode(everything)


@pytest.fixture
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No forms made yet: other tests make more of them than any program."""
    monkeypatch.setattr(forms, "_CLASSES", {})
    monkeypatch.setattr(forms, "_LAYOUTS", {})


@pytest.mark.usefixtures("_afresh")
def test_a_plain_read_is_small() -> None:
    """It keeps what it says, its ids and times in one place each, and nothing else."""
    access = access_of(**NEEDED, run="r", unit_kind=UnitKind.STEP, version_kind=VersionKind.COUNTER, read="1")
    assert sys.getsizeof(access) + sys.getsizeof(access.key) <= 170
    assert sys.getsizeof(roomy(**NEEDED)) > 500


def test_what_is_missing_or_unknown_is_named() -> None:
    """An access without what every access has is none."""
    for gone in NEEDED.keys() - {"trace_id", "span_id"}:
        with pytest.raises(TypeError, match=f"missing: .'{gone}'"):
            access_of(**{name: value for name, value in NEEDED.items() if name != gone})
    with pytest.raises(TypeError, match=r"unknown: .'colour'"):
        access_of(**NEEDED, colour="red")


@pytest.mark.usefixtures("_afresh")
def test_too_many_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit there are no more classes, and accesses still say what they were told."""
    monkeypatch.setattr(forms, "FORMS_MAX", 3)
    for number in range(10):
        facts = {**NEEDED, "system": f"system-{number}", "end_ns": 12 + number}
        access = access_of(**facts)
        assert _facts(access) == _facts(roomy(**facts))
        assert changed(access, seq=2) == changed(access_of(**facts), seq=2)
    assert len(forms._CLASSES) == 3
    assert all(len(layout) <= 3 for layout in forms._LAYOUTS.values())


@pytest.mark.parametrize("times", [(0, 0), (-5, 3), (-5, -3), (10, 5), (2**64 - 1, 2**64 - 1), (1, 2**64), (2**70, 1)])
def test_any_times(times: tuple[int, int]) -> None:
    """Times that no clock shows are kept as they are."""
    access = access_of(**{**NEEDED, "start_ns": times[0], "end_ns": times[1]})
    assert (access.start_ns, access.end_ns) == times


@given(ids, ids)
def test_any_ids(trace_id: str, span_id: str) -> None:
    """Ids are told as they were written, also those that are no ids, and no two pairs have one key."""
    whole = f"{trace_id}{trace_id}"[:32]
    assert ids_of(key_of(whole, span_id)) == (whole, span_id)
    other = key_of(span_id, whole)
    assert (other == key_of(whole, span_id)) == (whole == span_id)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=6))
def test_keys_sort_as_ids_do(pairs: list[tuple[int, int]]) -> None:
    """By the span's id, then by the trace's."""
    names = [(f"{trace:032x}", f"{span:016x}") for trace, span in pairs]
    by_ids = sorted(names, key=lambda name: (name[1], name[0]))
    assert [ids_of(key) for key in sorted(key_of(*name) for name in names)] == by_ids
