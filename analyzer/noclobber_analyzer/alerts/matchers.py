"""Which issues are meant: `kind=lost_update`, `resource=redis://*/acct:*`, `agent!=planner*`.

A matcher names a field of an issue and a shell pattern; several together mean all of them. A field that holds several
names (resources, agents) fits where one of them does, and with `!=` where none does. Silences and inhibition rules are
written in matchers. Source: Alertmanager's matchers; patterns are those of routes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["FIELDS", "Matcher", "labels", "matcher_from", "matchers_from", "matches", "names_of"]

FIELDS: Mapping[str, str] = {
    "issue": "issue",
    "kind": "kind",
    "severity": "severity",
    "certainty": "certainty",
    "resource": "resources",
    "agent": "agents",
}
"""What can be matched, and where it stands in an issue (contract 3)."""
MATCHERS_MAX = 20
PATTERN_MAX = 500


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition; `str()` gives it as it was typed."""

    field: str
    pattern: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.field}{'!=' if self.negated else '='}{self.pattern}"


def matcher_from(text: str) -> Matcher:
    """Read one matcher.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    left, equal, pattern = text.partition("=")
    field = left.removesuffix("!").strip()
    if not equal or field not in FIELDS or not pattern.strip():
        raise ValueError(f"'{text[:60]}' is no matcher: write field=pattern, with one of {', '.join(FIELDS)}")
    if len(pattern) > PATTERN_MAX:
        raise ValueError(f"a matcher's pattern has {PATTERN_MAX} characters at most")
    return Matcher(field, pattern.strip(), negated=left.endswith("!"))


def matchers_from(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Read several, at least one: nothing is meant by nothing.

    Raises:
        ValueError: there is none, too many, or one that cannot be read.
    """
    made = tuple(map(matcher_from, texts))
    if not 1 <= len(made) <= MATCHERS_MAX:
        raise ValueError(f"name one to {MATCHERS_MAX} matchers, such as kind=lost_update")
    return made


def matches(matchers: Sequence[Matcher], data: Mapping[str, object]) -> bool:
    """Whether an issue (contract 3) is meant by all of some matchers."""
    return all(
        each.negated != any(fnmatchcase(name, each.pattern) for name in names_of(data, each.field)) for each in matchers
    )


def names_of(data: Mapping[str, object], field: str) -> tuple[str, ...]:
    """What an issue says under a field, as a list."""
    value = data.get(FIELDS[field])
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return () if value is None else (str(value),)


def labels(data: Mapping[str, object]) -> dict[str, object]:
    """Of an issue only what can be matched: to be kept for long."""
    return {name: data[name] for name in FIELDS.values() if name in data}
