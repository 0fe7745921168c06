"""The findings in the store, as people look for them: filtered, newest first, or one by the first letters of its id.

Of each finding the newest revision counts, and filters apply to that one. Only bound parameters reach SQL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.latent.ranking import luck
from noclobber_analyzer.tables import Store, findings_of

__all__ = ["Wanted", "by_prefix", "each", "find", "total"]

PORTION: Final = 500
SAME_PREFIX_MAX: Final = 100
LATENT_MAX: Final = 2_000
"""The newest latent findings, among which the narrowest are looked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which findings; an empty field asks for all.

    Attributes:
        kinds: only these. certainty, severity: at least.
        resource: a part of it. agent, issue: the whole name.
        since_ns: those that came true from then on. status: `open` or `retracted`.
        latent: those that luck kept apart, and no others; False: only manifest ones.
    """

    kinds: tuple[Kind, ...] = ()
    certainty: Certainty = Certainty.POSSIBLE
    severity: Severity = Severity.LOW
    resource: str = ""
    agent: str = ""
    issue: str = ""
    since_ns: int = 0
    status: str = ""
    latent: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out but what was taken back."""
        return self == Wanted(status=self.status, latent=self.latent)

    @property
    def parameters(self) -> dict[str, object]:
        """As `MATCHING` binds them."""
        return {
            "kinds": [str(kind) for kind in self.kinds],
            "certainties": [str(c) for c in Certainty if c.rank >= self.certainty.rank],
            "severities": [str(s) for s in Severity if s.rank >= self.severity.rank],
            "resource": self.resource,
            "agent": self.agent,
            "issue": self.issue,
            "since": self.since_ns,
            "status": self.status,
            "manifest": int(not self.latent),
        }


MATCHING: Final = (
    "FROM (SELECT id, kind, certainty, severity, resource, agents, issue, last_ns, status, manifest FROM findings "
    "ORDER BY id, revision DESC LIMIT 1 BY id) WHERE (empty({kinds:Array(String)}) OR kind IN {kinds:Array(String)}) "
    "AND certainty IN {certainties:Array(String)} AND severity IN {severities:Array(String)} "
    "AND position(resource, {resource:String}) > 0 "
    "AND ({agent:String} = '' OR has(agents, {agent:String})) AND ({issue:String} = '' OR issue = {issue:String}) "
    "AND last_ns >= {since:UInt64} AND ({status:String} = '' OR status = {status:String}) "
    "AND manifest = {manifest:UInt8}"
)


def find(store: Store, wanted: Wanted, most: int) -> list[Finding]:
    """The newest of those wanted, latest first; latent ones the narrowest escape first."""
    if wanted.latent:
        newest = _newest(store, wanted, LATENT_MAX)
        return sorted(newest, key=lambda f: (luck(f.margin_ns, f.accesses), f.id))[:most]
    return _newest(store, wanted, most)


def _newest(store: Store, wanted: Wanted, most: int) -> list[Finding]:
    sql = f"SELECT id {MATCHING} ORDER BY last_ns DESC, id LIMIT {{most:UInt32}}"
    return _read(store, [str(row[0]) for row in store.rows(sql, {**wanted.parameters, "most": most})])


def each(store: Store, wanted: Wanted) -> Iterator[Finding]:
    """All of those wanted, latest first."""
    sql = f"SELECT id {MATCHING} ORDER BY last_ns DESC, id"
    ids = [str(row[0]) for row in store.rows(sql, wanted.parameters)]
    for at in range(0, len(ids), PORTION):
        yield from _read(store, ids[at : at + PORTION])


def total(store: Store, wanted: Wanted) -> int:
    """How many are wanted."""
    return int(store.rows(f"SELECT count() {MATCHING}", wanted.parameters)[0][0])


def by_prefix(store: Store, prefix: str) -> list[Finding]:
    """Findings whose ids begin so, of any status; some of them where there are many."""
    sql = "SELECT DISTINCT id FROM findings WHERE startsWith(id, {prefix:String}) ORDER BY id LIMIT {most:UInt32}"
    return _read(store, [str(row[0]) for row in store.rows(sql, {"prefix": prefix, "most": SAME_PREFIX_MAX})])


def _read(store: Store, ids: list[str]) -> list[Finding]:
    found: dict[str, Finding] = {}
    for at in range(0, len(ids), PORTION):
        found |= {name: finding for name, (finding, _) in findings_of(store, ids[at : at + PORTION]).items()}
    return [found[name] for name in ids if name in found]
