"""How an access keeps its facts: in as little room as they need, so that a million accesses fit.

Of the sixty facts that an access may have it says about sixteen, and most accesses say the same ones. So each set of
facts that are said makes a form, a class of its own, with room for just these; what is not said is found on `Access`,
where the defaults stand. Facts that have but a few values (what was done, how it ended, what versions prove) take no
room in an access either: those of one form share them. Both times stand in one number. A plain read takes 104 bytes
where room for every fact takes 512. One program makes a few dozen forms, 140 recorded ones together made 220; beyond
`FORMS_MAX` an access gets room for every fact.

Equal facts make equal accesses, however they were told: a fact with its default value is a fact not said.

Source: the maps of SELF (C. Chambers, D. Ungar, E. Lee: An Efficient Implementation of SELF, OOPSLA 1989, section 3.1):
what all objects of one shape have in common is kept once.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple, cast, get_type_hints

import msgspec

from noclobber_analyzer.access import Access, Process, key_of

__all__ = [
    "FORMS_MAX",
    "TIME_BITS",
    "access_of",
    "changed",
    "form_of",
    "in_form",
    "is_form",
    "roomy",
    "sent_by",
    "told",
]

FORMS_MAX: Final = 2048
"""Forms made: each is a class, of four kilobytes."""
LAYOUTS_MAX: Final = 4096
"""Orders in which facts are told that are remembered at a time: what repeats is learnt again at once."""

FACTS: Final = get_type_hints(Access)
"""All facts, with their types."""
DEFAULTS: Final = {name: getattr(Access, name) for name in FACTS if hasattr(Access, name)}
"""What a fact is that is not said."""
NEEDED: Final = frozenset(FACTS) - frozenset(DEFAULTS)
"""Facts that every access has."""
SHARED: Final[tuple[str, ...]] = (
    "op", "system", "outcome", "unit_kind", "version_kind", "base_source", "mode", "guard", "weak", "verbatim",
    "partial", "open", "numeric", "closed", "cancelled",
)  # fmt: skip
"""Facts of few values: all accesses of one form have them in common."""

TIME_BITS: Final = 64
TIME_MAX: Final = (1 << TIME_BITS) - 1
"""The latest time that OTLP can tell."""


class _Formed(msgspec.Struct, Access, gc=False):
    """An access of some form; `shared_facts` are those that all of this form have, where the defaults do not say so."""

    shared_facts: ClassVar[Mapping[str, Any]] = {}


class _Packed(_Formed, gc=False):
    """An access that keeps its call and its return in one number: they are long ones, and seldom asked for."""

    times: int

    @property
    def start_ns(self) -> int:  # type: ignore[override]  # only what has room for all can be changed
        """The call."""
        return self.times >> TIME_BITS

    @property
    def end_ns(self) -> int:  # type: ignore[override]  # as above
        """The return."""
        return self.times & TIME_MAX


_WITH_ROOM: Final = msgspec.defstruct(
    "RoomyAccess",
    [(name, FACTS[name]) for name in FACTS if name in NEEDED]
    + [(name, FACTS[name], DEFAULTS[name]) for name in FACTS if name in DEFAULTS],
    bases=(_Formed,),
    kw_only=True,
    gc=False,
)
"""An access with room for every fact."""


class _Form(NamedTuple):
    """A form: its class, and what takes the facts that it keeps out of all that are told, in its order."""

    made_of: Callable[..., Access]
    kept: Callable[[Mapping[str, Any]], tuple[Any, ...]]


class _Layout(dict[tuple[Any, ...], _Form]):
    """The forms of accesses that tell the same facts in the same order, by the values of those they share."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        if not set(names) >= NEEDED or not FACTS.keys() >= set(names):
            raise TypeError(f"missing: {sorted(NEEDED.difference(names))}; unknown: {sorted(set(names) - set(FACTS))}")
        self._told = tuple(name for name in SHARED if name in names)
        self.shared: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*self._told)
        self._kept = tuple(name for name in FACTS if name in names and name not in SHARED and name not in _TIMES)

    def __missing__(self, values: tuple[Any, ...]) -> _Form:
        if len(self) >= FORMS_MAX:
            self.clear()
        shared = {name: value for name, value in zip(self._told, values, strict=True) if value != DEFAULTS.get(name)}
        form = self[values] = _Form(_class_of(self._kept, shared), itemgetter(*self._kept))
        return form


_TIMES: Final = frozenset({"start_ns", "end_ns"})
_CLASSES: Final[dict[tuple[Any, ...], Callable[..., Access]]] = {}
_LAYOUTS: Final[dict[tuple[str, ...], _Layout]] = {}


def in_form(facts: Mapping[str, Any]) -> Access:
    """An access of these facts, none of which, but for those that a form shares, has its default value.

    Raises:
        TypeError: something that every access has is missing, or there is no such fact.
    """
    names = tuple(facts)
    layout = _LAYOUTS.get(names)
    if layout is None:
        if len(_LAYOUTS) >= LAYOUTS_MAX:
            _LAYOUTS.clear()
        layout = _LAYOUTS[names] = _Layout(names)
    start_ns, end_ns = facts["start_ns"], facts["end_ns"]
    if not 0 <= end_ns <= TIME_MAX:
        return roomy(**facts)
    form = layout[layout.shared(facts)]
    return form.made_of(start_ns << TIME_BITS | end_ns, *form.kept(facts))


def form_of(names: Iterable[str], shared: Mapping[str, Any]) -> tuple[Callable[..., Access], tuple[str, ...]]:
    """What makes accesses that say some facts, none of which has its default value, and share others.

    Args:
        names: of the facts that each says for itself, but for its times.
        shared: the others, some of them perhaps defaults.

    Returns:
        What is called with the times (call, shifted by `TIME_BITS`, and return in one number) and then the values of
        these facts; and their names in that order.

    Raises:
        TypeError: something that every access has is missing.
    """
    known = {*names}
    if not known | shared.keys() | _TIMES >= NEEDED:
        raise TypeError(f"missing: {sorted(NEEDED - known - shared.keys() - _TIMES)}")
    kept = tuple(name for name in FACTS if name in known)
    said = {name: shared[name] for name in SHARED if name in shared and shared[name] != DEFAULTS.get(name)}
    return _class_of(kept, said), kept


def access_of(**facts: Any) -> Access:
    """An access of these facts, in as little room as they need: equal ones are equal, however they were told.

    Args:
        facts: its `key`, or `trace_id` and `span_id`, and the others.

    Raises:
        TypeError: something that every access has is missing, or there is no such fact.
    """
    _name(facts)
    return in_form({name: value for name, value in facts.items() if name in NEEDED or value != DEFAULTS.get(name)})


def roomy(**facts: Any) -> Access:
    """The same with room for every fact, each of which may still be changed."""
    _name(facts)
    return cast("Access", _WITH_ROOM(**facts))


def changed(access: Access, **facts: Any) -> Access:
    """An access with some facts changed."""
    if not facts.keys().isdisjoint(_IDS):
        facts = {"trace_id": access.trace_id, "span_id": access.span_id, **facts}
    return access_of(**{**told(access), **facts})


def told(access: Access) -> dict[str, Any]:
    """The facts that an access says, and perhaps some defaults."""
    assert isinstance(access, _Formed)
    facts = {name: getattr(access, name) for name in access.__struct_fields__}
    if facts.pop("times", None) is not None:
        facts["start_ns"], facts["end_ns"] = access.start_ns, access.end_ns
    return {**access.shared_facts, **facts}


def is_form(of: type[Access]) -> bool:
    """Whether all accesses of a class say the same facts, and share those of few values: it keeps both times in one."""
    return issubclass(of, _Packed)


_IDS: Final = frozenset({"trace_id", "span_id"})


def _name(facts: dict[str, Any]) -> None:
    if "trace_id" in facts:
        facts["key"] = key_of(facts.pop("trace_id"), facts.pop("span_id"))


def sent_by(access: Access, process: Process) -> None:
    """Name its process by the one object that stands for it."""
    access.process = process  # type: ignore[misc]  # every form keeps it


def _class_of(kept: tuple[str, ...], shared: dict[str, Any]) -> Callable[..., Access]:
    """The class of accesses that keep some facts, in this order, and share others; too many have room for all."""
    key = (kept, *shared.items())
    if key not in _CLASSES:
        if len(_CLASSES) >= FORMS_MAX:
            return partial(_with_room, kept, shared)
        fields = [(name, FACTS[name]) for name in kept]
        said = {**shared, "shared_facts": shared}
        made = msgspec.defstruct("FormedAccess", fields, bases=(_Packed,), namespace=said, gc=False)
        _CLASSES[key] = cast("type[_Formed]", made)
    return _CLASSES[key]


def _with_room(kept: tuple[str, ...], shared: Mapping[str, Any], times: int, *values: Any) -> Access:
    facts = {**shared, **dict(zip(kept, values, strict=True))}
    return roomy(start_ns=times >> TIME_BITS, end_ns=times & TIME_MAX, **facts)
