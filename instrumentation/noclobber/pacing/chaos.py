"""Chaos: strands are held where it hurts, by a seeded plan, and what was done is told.

    with noclobber.chaos(seed=7) as injected:
        run_the_agents()

Each decision is drawn from the seed, the strand's label and the number of its access, so the same seed holds the same
accesses in the next run, whatever the clock does. Held is after an access, which is what widens the window between a
read and the write that rests on it.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from noclobber import recorder, scope, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op
from noclobber.pacing.holds import Hold
from noclobber.pacing.pacer import Pacer
from noclobber.pacing.plan import DEFAULT, START, Plan, Rule, load

__all__ = ["Chaos", "Injection", "chaos", "drawn"]

log = logging.getLogger("noclobber")
KEPT_MAX: Final = 10_000
"""Injections that are remembered in the process; the file has them all."""
NEVER: Final = frozenset({Op.JOIN, Op.SPAWN, Op.MARK})


@dataclass(frozen=True, slots=True)
class Injection:
    """One hold: whose, after which of its accesses, how long, by which rule of the plan (from 1).

    `what` is `lose` for an acknowledgement that was not sent and `again` for a message that was handed out again.
    """

    strand: str
    number: int
    op: str
    resource: str
    seconds: float
    rule: int
    what: str = "hold"


def drawn(*words: object) -> float:
    """A number from 0 up to 1 that depends on `words` alone.

    >>> drawn(7, "planner/#1", 3) == drawn(7, "planner/#1", 3) != drawn(8, "planner/#1", 3)
    True
    """
    digest = blake2b("\x1f".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class Chaos(Pacer):
    """Holds strands by a plan.

    Attributes:
        plan: what may be held. injected: what was, in the order in which it was. held_s: how long altogether.
    """

    def __init__(self, plan: Plan, told_to: Path | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.injected: list[Injection] = []
        self.held_s = 0.0
        self._count = 0
        self._spoilt = 0
        self._deliveries: dict[tuple[str, str], int] = {}
        self._told_to = told_to

    def hold_after(self, active: "recorder.Recorder", call: Call, accesses: Sequence[Access]) -> Hold | None:
        """By the first rule that speaks of the last of `accesses`."""
        access = accesses[-1]
        if access.op in NEVER:
            return None
        scope = call.scope
        agent = (scope.agent if scope is not None else None) or active.settings.agent or ""
        place = self.place(call.strand, agent)
        place.number += 1
        resource = active.declarations.named(access.resource)
        for number, rule in enumerate(self.plan.rules, 1):
            if rule.takes(str(access.op), resource, access.system, agent):
                ttl_ms = access.attributes.get(Attr.LOCK_TTL_MS)
                lease_s = ttl_ms / 1000 if rule.lease and isinstance(ttl_ms, int) else 0.0
                seconds = self._seconds(rule, lease_s, place.label, place.number)
                return self._inject(Injection(place.label, place.number, str(access.op), resource, seconds, number))
        return None

    def hold_at_start(self) -> Hold | None:
        """Of a task, by the rules for `start`."""
        active, strand = recorder.active(), strands.current()
        if active is None:
            return None
        place = self.place(strand, active.settings.agent)
        for number, rule in enumerate(self.plan.rules, 1):
            if START in rule.after:
                seconds = self._seconds(rule, 0.0, place.label, START)
                return self._inject(Injection(place.label, 0, START, "", seconds, number))
        return None

    def loses(self, resource: str, system: str) -> bool:
        """Whether the acknowledgement that is about to be sent is lost."""
        return self._spoils("lose", self.plan.lose, Op.ACK, resource, system)

    def repeats(self, resource: str, system: str) -> bool:
        """Whether the message that has just been received is handed out again."""
        return self._spoils("again", self.plan.again, Op.RECEIVE, resource, system)

    def _spoils(self, what: str, rules: Sequence[Rule], op: Op, resource: str, system: str) -> bool:
        active, known = recorder.active(), scope.current()
        if active is None:
            return False
        agent = (known.agent if known is not None else None) or active.settings.agent or ""
        label, named = self.place(strands.current(), agent).label, active.declarations.named(resource)
        for rule_number, rule in enumerate(rules, 1):
            if rule.takes(str(op), named, system, agent):
                return self._spoil(Injection(label, 0, str(op), named, 0.0, rule_number, what), rule.chance)
        return False

    def _spoil(self, injection: Injection, chance: float) -> bool:
        with self._lock:
            where = injection.what, injection.strand
            number = self._deliveries[where] = self._deliveries.get(where, 0) + 1
            if drawn(self.plan.seed, *where, number) >= chance or self._spoilt >= self.plan.holds_max:
                return False
            self._spoilt += 1
            told = replace(injection, number=number)
            if len(self.injected) < KEPT_MAX:
                self.injected.append(told)
        if self._told_to is not None:
            _append(self._told_to, asdict(told))
        return True

    def begin(self, active: "recorder.Recorder") -> None:
        """Pace, and spoil deliveries where the plan says so."""
        super().begin(active)
        if self.plan.lose or self.plan.again:
            from noclobber.pacing import deliveries

            deliveries.begin(self)

    def end(self, active: "recorder.Recorder") -> None:
        """Let everything run and arrive as it does."""
        if self.plan.lose or self.plan.again:
            from noclobber.pacing import deliveries

            deliveries.end()
        super().end(active)

    def _seconds(self, rule: Rule, lease_s: float, *where: object) -> float:
        """How long a strand is held there; 0: not."""
        if drawn(self.plan.seed, "whether", *where) >= rule.chance:
            return 0.0
        low, high = rule.seconds
        return lease_s + low + (high - low) * drawn(self.plan.seed, "how long", *where)

    def _inject(self, injection: Injection) -> Hold | None:
        with self._lock:
            spent = self._count >= self.plan.holds_max or self.held_s + injection.seconds > self.plan.total_s_max
            if spent or injection.seconds <= 0:
                return None
            self._count += 1
            self.held_s += injection.seconds
            if len(self.injected) < KEPT_MAX:
                self.injected.append(injection)
        if self._told_to is not None:
            _append(self._told_to, asdict(injection))
        return Hold(injection.seconds)


def _append(path: Path, told: dict[str, Any]) -> None:
    """One line, in one write, so that several processes may share the file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps({**told, "process": strands.process_id()}) + "\n").encode())
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def chaos(seed: int | None = None, *, plan: "Plan | str | Path | None" = None) -> Iterator[Chaos]:
    """Hold strands inside the block, if this process is instrumented; tells in `injected` what was held.

    Args:
        seed: of all that is drawn; the plan's where None.
        plan: a TOML file, or a plan; where None one that holds after reads, receipts and model calls.

    Raises:
        PlanError: the plan can't be used.
    """
    chosen = load(Path(plan)) if isinstance(plan, str | Path) else plan or DEFAULT
    made = Chaos(chosen if seed is None else chosen.seeded(seed))
    active = recorder.active()
    if active is None:
        log.warning("noclobber.chaos does nothing here: the process is not instrumented")
        yield made
        return
    before = active.pacer
    made.begin(active)
    try:
        yield made
    finally:
        made.end(active)
        if before is not None:
            before.begin(active)
