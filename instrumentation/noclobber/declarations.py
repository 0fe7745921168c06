"""What owners know of their resources: `[[resource]]` tables of the TOML file, and `noclobber.declare(...)`.

A declaration is a URI pattern and what holds for the resources that it fits. Capture needs some of it (`ignore`,
`hash_ids`, `exact`, `alias_of`, `closed`), the analyzer the rest (policies and invariants), so one file given to both
says everything; what is declared in code reaches only its own process. Where several declarations fit a resource they
are laid over each other, the later over the earlier.

    [[resource]]
    pattern = "redis://localhost:6379/0/acct:*"
    policy = "last_writer_wins"

    [[resource]]
    pattern = "postgresql://*/jobs/*"
    policy = "queue"
    message_id = "id"

Source: contract, section 4, "Declarations".
"""

import ast
import fnmatch
import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from noclobber.contract import Attr, Op
from noclobber.resources import SAFE

if TYPE_CHECKING:
    from noclobber.access import Access
    from noclobber.settings import Settings

__all__ = ["Declaration", "DeclarationError", "Declarations", "Policy", "declare", "load"]

log = logging.getLogger("noclobber")
RESOURCES_MAX: Final = 16_384
"""Resources whose declaration is remembered."""
IGNORED: Final = "ignored://"
"""Resource of an access that its owner wants ignored: its number is told, so that no hole looks like a loss."""
LEANED_ON: Final = frozenset(
    {
        Op.BEGIN, Op.COMMIT, Op.ABORT, Op.JOIN, Op.SPAWN, Op.LOCK, Op.UNLOCK, Op.SEND, Op.RECEIVE, Op.ACK, Op.NACK,
    }
)  # fmt: skip
"""What is told whatever is included: verdicts about other resources lean on it."""
_WILDCARD = re.compile(r"[*?\[]")


class DeclarationError(ValueError):
    """A declaration that can't be understood; says which one, and what would be right."""


class Policy(StrEnum):
    """What is permitted on a resource: what it permits is a defended access, reason `declared`."""

    LAST_WRITER_WINS = "last_writer_wins"
    CACHE = "cache"
    APPEND_ONLY = "append_only"
    QUEUE = "queue"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known of the resources that fit a pattern.

    Attributes:
        pattern: URI with `*` and `?`; all of a resource has to fit. Hosts are compared as capture writes them.
        policy: what is permitted; None: nothing in particular.
        message_id: for a queue: the column or field that is the message's id; None: the row or element itself.
        closed: every writer is known to be instrumented. ignore: not captured. hash_ids: the last segment leaves
            the process as a keyed hash only. exact: the store may be asked what a write replaces.
        alias_of: the part of the pattern before its first wildcard is another name of this.
        invariant: an expression that must hold; None: none.
    """

    pattern: str
    policy: Policy | None = None
    message_id: str | None = None
    closed: bool = False
    ignore: bool = False
    hash_ids: bool = False
    exact: bool = False
    alias_of: str | None = None
    invariant: str | None = None

    def fits(self, resource: str) -> bool:
        """Whether `resource` is meant."""
        return fnmatch.fnmatchcase(resource, self.pattern)


_FIELDS: Final = frozenset(each.name for each in fields(Declaration))
_FLAGS: Final = ("closed", "ignore", "hash_ids", "exact")
_TEXTS: Final = ("message_id", "alias_of", "invariant")


@dataclass
class Declarations:
    """All declarations, in the order in which they were made.

    >>> known = Declarations([declaration_from({"pattern": "redis://db:6379/0/hits:*", "policy": "cache"})])
    >>> known.of("redis://db:6379/0/hits:7").policy
    <Policy.CACHE: 'cache'>
    >>> known.of("redis://db:6379/0/acct:7") is None
    True
    """

    declared: Sequence[Declaration] = ()
    included: Sequence[str] = ()
    _found: dict[str, Declaration | None] = field(default_factory=dict, repr=False)
    _names: dict[str, tuple[str, bool]] = field(default_factory=dict, repr=False)
    _included: dict[str, bool] = field(default_factory=dict, repr=False)

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Declarations":
        """Those of the TOML file and of the code; one that can't be understood is logged and left out."""
        declared = []
        for number, table in enumerate(settings.tables, 1):
            try:
                declared.append(declaration_from(table, f"[[resource]] number {number}"))
            except DeclarationError as error:
                log.warning("noclobber leaves out a declaration: %s", error)
        excluded = [Declaration(each, ignore=True) for each in _patterns(settings.exclude)]
        known = (*map(_of_files, settings.watch_files), *declared, *_in_code, *excluded)
        return cls(known, _patterns(settings.include))

    def __bool__(self) -> bool:
        """Whether anything is to be heeded."""
        return bool(self.declared or self.included)

    def with_also(self, made: Declaration) -> "Declarations":
        """These and `made`."""
        return Declarations((*self.declared, made), self.included)

    def of(self, resource: str) -> Declaration | None:
        """What is declared of `resource`; None: nothing."""
        try:
            return self._found[resource]
        except KeyError:
            pass
        found: Declaration | None = None
        for each in self.declared:
            if each.fits(resource):
                found = each if found is None else _over(found, each)
        if len(self._found) < RESOURCES_MAX:
            self._found[resource] = found
        return found

    def wants_exact(self, resource: str) -> bool:
        """Whether the store may be asked what a write of `resource` replaces."""
        found = self.of(resource) if self.declared else None
        return found is not None and found.exact

    def named(self, resource: str) -> str:
        """`resource` by the name under which it leaves the process."""
        return self._name(resource)[0] if self.declared else resource

    def applied(self, access: "Access") -> "Access":
        """`access` with its names, and with what is declared of its resource; changed in place."""
        if not self:
            return access
        found = self.of(access.resource)
        ignored = found is not None and found.ignore
        if ignored or (self.included and access.op not in LEANED_ON and not self._is_included(access.resource)):
            return type(access)(Op.READ, IGNORED, "noclobber", remembered=False)
        access.resource, hashed = self._name(access.resource)
        if hashed:
            access.attributes[Attr.RESOURCE_HASHED] = True
        if found is not None and found.closed:
            access.attributes[Attr.CLOSED] = True
        members = access.attributes.get(Attr.RESULT_RESOURCES)
        if isinstance(members, list | tuple):
            access.attributes[Attr.RESULT_RESOURCES] = tuple(map(self.named, members))
        access.members = tuple(replace(each, resource=self.named(each.resource)) for each in access.members)
        message = access.attributes.get(Attr.MESSAGE_ID)
        if isinstance(message, str) and "://" in message:  # a row that is a task
            access.attributes[Attr.MESSAGE_ID] = self.named(message)
        return access

    def _is_included(self, resource: str) -> bool:
        known = self._included.get(resource)
        if known is None:
            known = any(fnmatch.fnmatchcase(resource, each) for each in self.included)
            if len(self._included) < RESOURCES_MAX:
                self._included[resource] = known
        return known

    def _name(self, resource: str) -> tuple[str, bool]:
        known = self._names.get(resource)
        if known is not None:
            return known
        name, found = resource, self.of(resource)
        for each in reversed(self.declared):
            if each.alias_of is not None and each.fits(resource):
                name = each.alias_of + resource[len(_literal(each.pattern)) :]
                break
        hashed = found is not None and found.hash_ids and not name.endswith("/")
        known = (_hashed(name) if hashed else name, hashed)
        if len(self._names) < RESOURCES_MAX:
            self._names[resource] = known
        return known


def _patterns(given: Iterable[str]) -> tuple[str, ...]:
    """The patterns of a setting as resources are written; one that can't be understood is logged and left out."""
    found = []
    for each in given:
        try:
            found.append(_canonical(each))
        except DeclarationError as error:
            log.warning("noclobber leaves out a pattern of NOCLOBBER_INCLUDE or NOCLOBBER_EXCLUDE: %s", error)
    return tuple(found)


def _of_files(pattern: str) -> Declaration:
    """The declaration that a path of the setting `watch_files` is; a folder means all below it."""
    path = os.path.abspath(pattern)  # noqa: PTH100  as written: links are followed when a file is opened
    path += "/*" if pattern.endswith("/") or Path(pattern).is_dir() else ""
    return Declaration("file://*" + quote(path, safe=f"{SAFE}/[]?"))


_in_code: list[Declaration] = []
_listener: Callable[[], None] | None = None


def on_declared(listener: Callable[[], None] | None) -> None:
    """Call `listener` after each declaration in code: which files are recorded follows from them. None: nobody."""
    global _listener  # noqa: PLW0603  one a process
    _listener = listener


def declare(pattern: str, **known: Any) -> Declaration:
    """Declare what is known of the resources that fit `pattern`: `noclobber.declare("redis://*/hits:*", ignore=True)`.

    It holds for what is sent from now on; call it before the first access, before or after `noclobber.instrument`.

    Args:
        pattern: URI with `*` and `?`.
        known: the attributes of `Declaration`: `policy`, `message_id`, `closed`, `ignore`, `hash_ids`, `exact`,
            `alias_of`, `invariant`.

    Raises:
        DeclarationError: it can't be understood (a mistake in the program, seen at its first run).
    """
    from noclobber import recorder

    made = declaration_from({"pattern": pattern, **known}, "noclobber.declare")
    _in_code.append(made)
    active = recorder.active()
    if active is not None:
        active.declare(active.declarations.with_also(made))
    if _listener is not None:
        _listener()
    return made


def load(path: str | Path) -> Declarations:
    """The declarations of a TOML file.

    Raises:
        DeclarationError: the file can't be read, or a table of it can't be understood.
    """
    try:
        tables = tomllib.loads(Path(path).read_text()).get("resource", [])
    except OSError as error:
        raise DeclarationError(f"can't read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} is not TOML: {error}") from error
    if not isinstance(tables, list):
        raise DeclarationError(f"{path}: write [[resource]], with two brackets: there may be several")
    return Declarations(
        [declaration_from(table, f"{path}, [[resource]] number {n}") for n, table in enumerate(tables, 1)]
    )


def declaration_from(table: Mapping[str, Any], where: str = "a declaration") -> Declaration:
    """The declaration that `table` is.

    Raises:
        DeclarationError: it can't be understood; `where` is named.
    """
    pattern = table.get("pattern")
    if not isinstance(pattern, str) or "://" not in pattern:
        raise DeclarationError(f"{where}: `pattern` has to be a URI such as 'redis://*/acct:*', not {pattern!r}")
    unknown = sorted(table.keys() - _FIELDS)
    if unknown:
        raise DeclarationError(f"{where}: there is no {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    for name in _FLAGS:
        if not isinstance(table.get(name, False), bool):
            raise DeclarationError(f"{where}: `{name}` is true or false, not {table[name]!r}")
    for name in _TEXTS:
        if not isinstance(table.get(name, ""), str | None):
            raise DeclarationError(f"{where}: `{name}` is a text, not {table[name]!r}")
    return _checked(Declaration(**{**table, "pattern": _canonical(pattern), "policy": _policy(table, where)}), where)


def _policy(table: Mapping[str, Any], where: str) -> Policy | None:
    policy = table.get("policy")
    try:
        return None if policy is None else Policy(policy)
    except ValueError:
        known = ", ".join(Policy)
        raise DeclarationError(f"{where}: there is no policy {policy!r}; known are {known}") from None


def _checked(made: Declaration, where: str) -> Declaration:
    if made.message_id is not None and made.policy is not Policy.QUEUE:
        raise DeclarationError(f"{where}: `message_id` belongs to policy 'queue'")
    if made.alias_of is not None and "://" not in made.alias_of:
        raise DeclarationError(f"{where}: `alias_of` has to be a URI such as 'redis://db:6379/', not {made.alias_of!r}")
    if made.invariant is not None:
        try:
            ast.parse(made.invariant, mode="eval")
        except (SyntaxError, ValueError) as error:
            raise DeclarationError(f"{where}: the invariant {made.invariant!r} is no expression: {error}") from error
    alias = None if made.alias_of is None else _canonical(made.alias_of)
    return replace(made, alias_of=alias, closed=made.closed or made.policy is Policy.CLOSED)


def _over(under: Declaration, upper: Declaration) -> Declaration:
    """`upper` laid over `under`: what it says holds, what it leaves open stays."""
    said = {each.name: value for each in fields(upper) if (value := getattr(upper, each.name)) not in (None, False)}
    return replace(under, **said)


def _canonical(pattern: str) -> str:
    """`pattern` with its host as capture writes it, where no wildcard stands in it."""
    from noclobber.resources import authority

    parts = urlsplit(pattern)
    if not parts.netloc or _WILDCARD.search(parts.netloc) or parts.scheme == "mem":
        return pattern
    head = f"{parts.scheme}://"
    try:
        place = authority(parts.hostname, parts.port)
    except ValueError as error:
        raise DeclarationError(f"{pattern!r}: {error}") from error
    return head + place + pattern[len(head) + len(parts.netloc) :]


def _literal(pattern: str) -> str:
    found = _WILDCARD.search(pattern)
    return pattern if found is None else pattern[: found.start()]


def _hashed(resource: str) -> str:
    """`resource` with the values in its last segment as keyed hashes; names of columns stay."""
    head, _, last = resource.rpartition("/")
    return f"{head}/" + ",".join(_hashed_value(each) for each in last.split(","))


def _hashed_value(text: str) -> str:
    from noclobber.versions import fingerprint

    name, equals, value = text.rpartition("=")
    return f"{name}{equals}h:{fingerprint(value.encode())[:16]}"


def reset(declared: Iterable[Declaration] = ()) -> Sequence[Declaration]:
    """Let what was declared in code be just `declared`; returns what it was (for tests)."""
    before = tuple(_in_code)
    _in_code[:] = declared
    return before
