"""A suite of tests under watch: thresholds, chaos, what is known already, and what is said where a test fails.

What the plugin (`pytest_plugin`) needs once a test asks for it; apart, so that suites that never ask pay nothing.
"""

import argparse
import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noclobber.contract import Certainty, Kind, Severity
from noclobber.pacing.chaos import Chaos
from noclobber.pacing.plan import DEFAULT, Plan, PlanError, load
from noclobber.settings import load as load_settings
from noclobber_analyzer.baseline import BaselineError, Entry, entries_of, read_baseline
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.likeness import likeness
from noclobber_analyzer.report.summary import Thresholds
from noclobber_analyzer.report.text import finding_lines
from noclobber_analyzer.watching import RING_MAX, Watched, hooked, watched

__all__ = ["Suite"]

_KNOWN = {"fail_on", "min_certainty", "latent", "kinds", "enabled"}


class Suite:
    """The tests of one process.

    Attributes:
        everything: whether tests are watched that do not ask for it. found: what stands in a baseline written now.
        counts: tests watched, their accesses, tests with findings that are not known.
    """

    def __init__(self, options: argparse.Namespace, root: Path, told_to: dict[str, Any] | None = None) -> None:
        self.everything = bool(options.noclobber or options.noclobber_chaos is not None)
        self.found: dict[str, Entry] = {}
        self.counts = [0, 0, 0]
        if told_to is not None:
            told_to["noclobber"] = {"found": self.found, "counts": self.counts}
        self._updates = options.noclobber_update_baseline
        self._known = _baseline(options.noclobber_baseline, updates=self._updates)
        self._limits = _thresholds(
            fail_on=options.noclobber_fail_on,
            min_certainty=options.noclobber_min_certainty,
            kinds=tuple(filter(None, options.noclobber_kinds.split(","))),
            latent=options.noclobber_latent,
        )
        self._plan = _plan(options.noclobber_chaos)
        self._settings = replace(
            load_settings(), send=False, file=None, spool=None, cpu_budget=0.0, ring_max=RING_MAX, agent=None,
            exact=("*",) if options.noclobber_exact else (),
        )  # fmt: skip
        self._root = root
        self._hooks = contextlib.ExitStack()
        self._hooks.enter_context(hooked(self._settings))

    def end(self) -> None:
        """Take the hooks out."""
        self._hooks.close()

    def wants(self, item: pytest.Item) -> bool:
        """Whether a test's own mark leaves it on."""
        mark = item.get_closest_marker("noclobber")
        return mark is None or mark.kwargs.get("enabled", True) is True

    def watching(self) -> contextlib.AbstractContextManager[Watched]:
        """Watch one test."""
        return watched(self._settings)

    @contextlib.contextmanager
    def pacing(self, seen: Watched, item: pytest.Item) -> Iterator[None]:
        """Hold the test's strands, if that was asked for; the same seed holds the same accesses of the same test."""
        if self._plan is None:
            yield
            return
        item.add_report_section("call", "noclobber", f"chaos: --noclobber-chaos={self._plan.seed}")
        chaos = Chaos(self._plan)
        chaos.begin(seen.recorder)
        try:
            yield
        finally:
            chaos.end(seen.recorder)

    def failing(self, seen: Watched, item: pytest.Item) -> str:
        """What a test is told that fails: each finding that is not known; "" where there is none."""
        limits = self._of(item)
        found = [each for each in seen.findings(latent=limits.latent) if limits.fails(each)]
        self.counts[0] += 1
        self.counts[1] += seen.accesses
        if self._updates:
            self.found.update(entries_of(found))
            return ""
        new = [each for each in found if likeness(each) not in self._known]
        self.counts[2] += bool(new)
        return _told(new)

    def _of(self, item: pytest.Item) -> Thresholds:
        mark = item.get_closest_marker("noclobber")
        if mark is None:
            return self._limits
        wrong = sorted(set(mark.kwargs) - _KNOWN)
        if wrong or mark.args:
            raise pytest.UsageError(f"{item.nodeid}: the mark noclobber takes {', '.join(sorted(_KNOWN))}")
        words = {name: value for name, value in mark.kwargs.items() if name != "enabled"}
        limits = self._limits
        said = {
            "fail_on": limits.severity, "min_certainty": limits.certainty, "kinds": limits.kinds,
            "latent": limits.latent,
        }  # fmt: skip
        return _thresholds(**{**said, **words})


def _thresholds(*, fail_on: Any, min_certainty: Any, kinds: Any, latent: bool) -> Thresholds:
    try:
        named = frozenset(Kind(kind) for kind in ((kinds,) if isinstance(kinds, str) else kinds))
        return Thresholds(Severity(fail_on), Certainty(min_certainty), named, latent=bool(latent))
    except ValueError as error:
        raise pytest.UsageError(f"noclobber: {error}") from error


def _baseline(path: Path | None, *, updates: bool) -> dict[str, Entry]:
    if path is None:
        if updates:
            raise pytest.UsageError("--noclobber-update-baseline needs --noclobber-baseline FILE")
        return {}
    try:
        return read_baseline(path, may_be_missing=updates)
    except BaselineError as error:
        raise pytest.UsageError(str(error)) from error


def _plan(said: str | None) -> Plan | None:
    """A seed, the path of a plan, or nothing: any seed, which a failing test then names."""
    if said is None:
        return None
    if not said:
        return DEFAULT.seeded(random.randrange(1_000_000))  # noqa: S311  of holds
    if said.isdecimal():
        return DEFAULT.seeded(int(said))
    try:
        return load(Path(said))
    except PlanError as error:
        raise pytest.UsageError(str(error)) from error


def _told(findings: list[Finding]) -> str:
    if not findings:
        return ""
    lines = [line for finding in findings for line in ("", *finding_lines(finding))]
    return "\n".join((f"{len(findings)} race{'s' if len(findings) > 1 else ''} on shared state", *lines))
