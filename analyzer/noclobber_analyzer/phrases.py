"""How things are called in sentences: agents, resources, versions, durations.

Everything here comes from outside and may hold anything; whoever shows it must treat it as text. Versions are named
by their beginning, which is enough to tell them apart by eye; values are never known here.
"""

from collections.abc import Iterable

from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import local_ns, slack_ns

__all__ = ["agent", "duration", "gap", "key", "others", "short", "some", "state", "version"]

PRINT_LENGTH = 8
NAME_LENGTH = 80
NAMES_MAX = 3


def agent(access: Access) -> str:
    """Who did it."""
    return f"`{short(access.agent)}`"


def others(one: Access, other: Access) -> str:
    """Who did it, told apart from another access of an agent of the same name."""
    return f"another call of {agent(other)}" if one.agent == other.agent else agent(other)


def key(resource: str) -> str:
    """The part of a resource's name that people know it by.

    >>> key("redis://cache:6379/0/acct:42"), key("postgresql://db:5432/bank/accounts/id=7")
    ('acct:42', 'accounts/id=7')
    """
    parts = [part for part in resource.partition("://")[2].split("/") if part] or [resource]
    wide = resource.startswith(("postgresql:", "mysql:", "sqlite:", "langgraph:")) or resource.endswith("/")
    return "/".join(parts[-2 if wide else -1 :]) + ("/" if resource.endswith("/") else "")


def version(name: Version | None) -> str:
    """A version, short enough to read; of an id made of time both parts that tell it from its neighbours.

    >>> version("1f1e8f11-a2b3-6c4d-8001-0242ac120002"), version("3f9a71c0aa55ee01deadbeef"), version("17")
    ('1f1e8f11-a2b3', '3f9a71c0', '17')
    """
    if name is None:
        return "a version that was not recorded"
    if name == "absent":
        return "nothing"
    if len(name) <= PRINT_LENGTH + 4:
        return name
    head, dash, rest = name.partition("-")
    return f"{head}-{rest.partition('-')[0]}" if dash and len(head) <= PRINT_LENGTH else name[:PRINT_LENGTH]


def state(name: Version | None) -> str:
    """A version as what stood there.

    >>> state("17"), state("absent"), state(None)
    ('version 17', 'the empty state', 'a version that was not recorded')
    """
    if name == "absent":
        return "the empty state"
    return f"version {version(name)}" if name is not None else version(name)


def short(text: str) -> str:
    """A name, cut where it is absurdly long."""
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 1]}…"


def some(names: Iterable[str]) -> str:
    """The first of several names, and how many more there are.

    >>> some(["b", "a"]), some("edcba")
    ('a, b', 'a, b, c and 2 more')
    """
    every = sorted(names)
    told = ", ".join(short(name) for name in every[:NAMES_MAX])
    return told + (f" and {len(every) - NAMES_MAX} more" if len(every) > NAMES_MAX else "")


def duration(nanoseconds: int) -> str:
    """A time span for people.

    >>> duration(41_300_000), duration(2_730_000_000), duration(900), duration(118_000_000_000)
    ('41 ms', '2.7 s', '1 µs', '118 s')
    """
    seconds = abs(nanoseconds) / 1e9
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f} ms"
    return f"{max(1, round(seconds * 1e6))} µs"


def gap(one: Access, other: Access) -> str | None:
    """How long after the return of one the other was called; None where clocks do not compare, or they overlap."""
    if slack_ns(one.process, other.process) is None:
        return None
    between = local_ns(other.process, other.start_ns) - local_ns(one.process, one.end_ns)
    return duration(between) if between > 0 else None
