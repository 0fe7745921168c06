"""What chaos does: a plan, read from TOML or given in code.

A plan is a seed and rules; each rule says after which accesses a strand may be held, how likely, and how long. Which
access is held depends on the seed, the strand's label and the number of the access in its strand, on nothing else, so
the same seed holds the same accesses again. The whole is bounded: by rule, by number of holds and by their sum.
"""

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from noclobber.contract import Op
from noclobber.pacing.holds import HOLD_S_MAX

__all__ = ["DEFAULT", "START", "Plan", "PlanError", "Rule", "load", "plan_of"]

START: Final = "start"
"""Before the first step of an asyncio task: tasks begin in another order."""
RULES_MAX: Final = 1000


class PlanError(ValueError):
    """A plan that can't be used: the message says which rule and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a strand is held.

    Attributes:
        after: operations of the contract, or `start`. resource, system, agent: patterns with `*` and `?`.
        chance: 0 to 1. seconds: the shortest and the longest hold.
        lease: hold until a lock that was just taken has run out, if it has a lease, plus `seconds`.
    """

    after: frozenset[str]
    resource: str = "*"
    system: str = "*"
    agent: str = "*"
    chance: float = 0.5
    seconds: tuple[float, float] = (0.0, 0.05)
    lease: bool = False

    def takes(self, op: str, resource: str, system: str, agent: str) -> bool:
        """Whether it speaks of such an access."""
        return op in self.after and all(
            pattern == "*" or fnmatch.fnmatchcase(value, pattern)
            for pattern, value in ((self.resource, resource), (self.system, system), (self.agent, agent))
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is held.

    Attributes:
        seed: of all that is drawn. rules: the first that speaks of an access decides.
        lose: acknowledgements that never arrive. again: messages that are handed out again (`deliveries`).
        holds_max: how many holds a process makes at most, and how many deliveries go wrong.
        total_s_max: how long the holds are together at most.
    """

    seed: int = 0
    rules: tuple[Rule, ...] = ()
    lose: tuple[Rule, ...] = ()
    again: tuple[Rule, ...] = ()
    holds_max: int = 1000
    total_s_max: float = 30.0

    def seeded(self, seed: int) -> "Plan":
        """The same plan with another seed."""
        return replace(self, seed=seed)


DEFAULT: Final = Plan(
    rules=(
        Rule(frozenset({Op.READ, Op.SCAN, Op.RECEIVE}), chance=0.6, seconds=(0.0, 0.1)),
        Rule(frozenset({Op.MODEL}), seconds=(0.0, 0.2)),
        Rule(frozenset({Op.LOCK}), chance=0.4, seconds=(0.0, 0.1)),  # who has one lock may want another
        Rule(frozenset({Op.WRITE, Op.UNLOCK}), chance=0.2, seconds=(0.0, 0.02)),
        Rule(frozenset({START}), chance=0.3, seconds=(0.0, 0.02)),
    )
)
"""Widens the window between a read and what is done because of it, and between a lock and the next one."""
_RULE: Final = {each.name for each in fields(Rule)}
_CHOICE: Final = {"resource", "system", "agent", "chance"}
_PLAN: Final = {"seed", "holds_max", "total_s_max", "hold", "lose", "again"}


def load(path: Path) -> Plan:
    """The plan in a TOML file.

    Raises:
        PlanError: it can't be read or understood.
    """
    try:
        return plan_of(tomllib.loads(path.read_text()))
    except OSError as error:
        raise PlanError(f"the plan {path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan {path} is no TOML: {error}") from error


def plan_of(table: Mapping[str, Any]) -> Plan:
    """The plan that a table holds; the default rules where it has none.

    Raises:
        PlanError: a word or a value that it does not know.
    """
    _known("the plan", table, _PLAN)
    holds = tuple(_rule(number, rule) for number, rule in enumerate(_tables(table, "hold"), 1))
    lose, again = (
        tuple(_choice(f"{name} {number}", op, rule) for number, rule in enumerate(_tables(table, name), 1))
        for name, op in (("lose", Op.ACK), ("again", Op.RECEIVE))
    )
    return Plan(
        seed=_whole("seed", table.get("seed", DEFAULT.seed)),
        rules=holds or (() if lose or again else DEFAULT.rules),
        lose=lose,
        again=again,
        holds_max=_whole("holds_max", table.get("holds_max", DEFAULT.holds_max)),
        total_s_max=_number("total_s_max", table.get("total_s_max", DEFAULT.total_s_max), 3600.0),
    )


def _tables(table: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rules = table.get(name, [])
    if not isinstance(rules, list) or len(rules) > RULES_MAX or not all(isinstance(rule, dict) for rule in rules):
        raise PlanError(f"`{name}` is a list of tables: [[{name}]]")
    return rules


def _choice(where: str, op: Op, table: Mapping[str, Any]) -> Rule:
    """Which acknowledgements or receipts go wrong, and how often."""
    _known(where, table, _CHOICE)
    resource, system, agent = _patterns(where, table)
    chance = _number(f"{where}: `chance`", table.get("chance", 0.5), 1.0)
    return Rule(frozenset({str(op)}), resource, system, agent, chance=chance)


def _patterns(where: str, table: Mapping[str, Any]) -> tuple[str, str, str]:
    for name in ("resource", "system", "agent"):
        if not isinstance(table.get(name, "*"), str):
            raise PlanError(f"{where}: `{name}` is a pattern, such as 'redis://*'")
    return table.get("resource", "*"), table.get("system", "*"), table.get("agent", "*")


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    where = f"rule {number}"
    _known(where, table, _RULE)
    after = table.get("after", ["read", "scan"])
    known = {*map(str, Op), START}
    words = [after] if isinstance(after, str) else after
    if not isinstance(words, list) or not words or not set(words) <= known:
        raise PlanError(f"{where}: `after` is one or more of {', '.join(sorted(known))}; not {after!r}")
    return Rule(
        frozenset(words),
        *_patterns(where, table),
        chance=_number(f"{where}: `chance`", table.get("chance", 0.5), 1.0),
        seconds=_span(where, table.get("seconds", [0.0, 0.05])),
        lease=table.get("lease", False) is True,
    )


def _span(where: str, value: Any) -> tuple[float, float]:
    both = value if isinstance(value, list) else [value, value]
    if len(both) != 2:
        raise PlanError(f"{where}: `seconds` is a number, or the shortest and the longest")
    low, high = (_number(f"{where}: `seconds`", each, HOLD_S_MAX) for each in both)
    if low > high:
        raise PlanError(f"{where}: `seconds` is the shortest first, then the longest")
    return low, high


def _number(what: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise PlanError(f"{what} is a number from 0 to {most:g}; not {value!r}")
    return float(value)


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PlanError(f"`{what}` is a whole number from 0; not {value!r}")
    return value


def _known(where: str, table: Mapping[str, Any], words: set[str]) -> None:
    wrong = sorted(set(table) - words)
    if wrong:
        raise PlanError(f"{where}: there is no `{wrong[0]}`. Known: {', '.join(sorted(words))}")
