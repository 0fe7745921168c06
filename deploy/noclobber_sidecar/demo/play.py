"""Plays an act until work is lost, then its safe twin, and prints what the server saw beside what noclobber says.

noclobber is right about a round if it reports something if and only if the observer saw a loss. A round in which the
agents were lucky is played again; so is a round of the twin in which they never met, since its guard had nothing to do.
"""

import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber.cli import CommandError
from noclobber.contract import Certainty, Kind
from noclobber_analyzer.finding import Finding
from noclobber_sidecar.demo.observer import Verdict
from noclobber_sidecar.demo.scenarios import Act, OpenAct
from noclobber_sidecar.demo.sidecar import Sidecar
from noclobber_sidecar.demo.stage import Performance, perform
from noclobber_sidecar.demo.webhook import Alerts

__all__ = ["Play"]

ROUNDS_MAX: Final = 12
"""Agents are lucky now and then; so many rounds in a row are not luck any more (2^-12)."""
FINDING_TIMEOUT_S: Final = 15.0
HEARD_OUT_TIMEOUT_S: Final = 15.0
WEBHOOK_TIMEOUT_S: Final = 10.0
QUIET_S: Final = 2.0
"""How long to wait for what should not come, once all that the agents said is in the store."""
POLL_S: Final = 0.05
WIDTH: Final = 112
PROVED: Final = {
    Kind.LOST_UPDATE: "the store itself said what the write replaced, and its author had never seen it",
    Kind.FORK: "both checkpoints name the same parent",
    Kind.DIRTY_READ: "only a transaction that was rolled back ever made what was read",
    Kind.DOUBLE_CLAIM: "both took the job, and both went on with it",
}
"""What makes a finding of a kind certain, for people."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round that was played.

    Attributes:
        since_ns: unix time before its agents started.
        performance: what they did. verdict: what the observer saw.
    """

    since_ns: int
    performance: Performance
    verdict: Verdict


class Play:
    """Plays acts on one sidecar.

    Args:
        sidecar: runs.
        alerts: the webhooks that it sends.
        environment: in which agents find it.
        exact: let noclobber ask the stores for what writes replace.
        spans: folder in which the agents' spans are kept as files, too; None: they are not.
        began_s: monotonic time at which the person typed the command.

    Attributes:
        newest: id of the last finding shown.
    """

    def __init__(
        self, sidecar: Sidecar, alerts: Alerts, environment: dict[str, str], *, exact: bool, spans: Path | None,
        began_s: float,
    ) -> None:  # fmt: skip
        self._sidecar, self._alerts, self._environment = sidecar, alerts, environment
        self._exact, self._spans, self._began_s = exact, spans, began_s
        self._rounds = 0
        self.newest: str | None = None

    def act(self, act: Act, place: Path) -> bool:
        """Play one act, its servers in the folder `place`; whether noclobber was right about it and its twin."""
        place.mkdir()
        say(f"\n== {act.name}: {act.story}")
        with act.open(place) as opened:
            harmless: list[Round] = []
            return self._race(act, opened, harmless) and self._twin(act, opened, harmless)

    def _race(self, act: Act, opened: OpenAct, harmless: list[Round]) -> bool:
        """Play until work is lost, and wait for the finding; rounds without a loss are added to `harmless`."""
        for _ in range(ROUNDS_MAX):
            played = self._play(act, opened, safely=False)
            if played.verdict.lost:
                say("     Work was lost, and nobody saw an error.")
                return self._show(act, played)
            harmless.append(played)
            say("     Luck: nothing was lost. Once more.")
        say(f"   The agents were lucky {ROUNDS_MAX} times in a row.")
        return False

    def _show(self, act: Act, played: Round) -> bool:
        deadline = time.monotonic() + FINDING_TIMEOUT_S
        while time.monotonic() < deadline:
            for finding in self._findings(played):
                if finding.kind is act.kind:
                    self._print(finding, time.time_ns())
                    return True
            time.sleep(POLL_S)
        say(f"   noclobber did not find the {_title(act.kind)} within {FINDING_TIMEOUT_S:.0f} s.")
        return False

    def _print(self, finding: Finding, now_ns: int) -> None:
        self.newest = finding.id
        since_write_s, since_command_s = (now_ns - finding.last_ns) / 1e9, time.monotonic() - self._began_s
        say(f"\n   noclobber found it {since_write_s:.1f} s after the last access ({since_command_s:.0f} s in all):")
        what = f"{_title(finding.kind).upper()} ({finding.certainty}, {finding.severity})"
        say(f"   {what} on {finding.resource}")
        say(_folded(finding.explanation))
        say(_folded(_how_sure(finding)))
        if finding.advice.text:
            say(_folded(f"fix: {finding.advice.text}"))
        alert = self._alerts.wait_for(finding.issue, WEBHOOK_TIMEOUT_S)
        say(f"     webhook: {alert} came, its signature is right" if alert else "     webhook: none came")
        say(f"     {self._sidecar.dashboard}/finding?id={finding.id}")

    def _twin(self, act: Act, opened: OpenAct, harmless: list[Round]) -> bool:
        """Play the safe twin until its guard had something to do; then nothing may be found in any harmless round."""
        say(f"\n   The safe twin, the same work with {act.cure}:")
        before = Counter(self._sidecar.defended())
        held: Counter[str] = Counter()
        for _ in range(ROUNDS_MAX):
            played = self._play(act, opened, safely=True)
            if played.verdict.lost:
                say("   The safe twin lost something: that is a bug in the demo.")
                return False
            harmless.append(played)
            held = self._held(played, before)
            if held:
                break
            say("     They never met, so the guard had nothing to do. Once more.")
        time.sleep(QUIET_S)
        if any(self._findings(each) for each in harmless):
            say("   noclobber reports something where nothing was lost: that is a bug in noclobber.")
            return False
        counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(held.items()))
        say(f"     Nothing was lost, and noclobber is silent. Defended: {counts or 'nothing'}.")
        return bool(held)

    def _held(self, played: Round, before: Counter[str]) -> Counter[str]:
        """What was defended since `before`, once noclobber has heard all of a round and had a moment to judge it."""
        deadline = time.monotonic() + HEARD_OUT_TIMEOUT_S
        while not self._sidecar.has_heard_out(played.performance.pids):
            if time.monotonic() > deadline:
                raise CommandError("the agents' spans did not arrive in the store", exit_code=1)
            time.sleep(POLL_S)
        deadline = time.monotonic() + QUIET_S
        while True:
            held = Counter(self._sidecar.defended()) - before
            if held or time.monotonic() > deadline:
                return held
            time.sleep(POLL_S)

    def _play(self, act: Act, opened: OpenAct, *, safely: bool) -> Round:
        self._rounds += 1
        number, environment = self._rounds, self._environment
        if self._spans is not None:
            name = f"{act.name.replace(' ', '-')}-{number}{'-safe' if safely else ''}.jsonl"
            environment = {**environment, "NOCLOBBER_FILE": str(self._spans / name)}
        opened.observer.prepare(number)
        since_ns = time.time_ns()
        performance = perform(opened.programs(number, safely), environment=environment, exact=self._exact)
        verdict = opened.observer.judge(number, performance.lines)
        say(f"   round {number}")
        for line in performance.lines:
            say(f"     {line}")
        say(f"     what the server says: {verdict.end}")
        return Round(since_ns, performance, verdict)

    def _findings(self, played: Round) -> list[Finding]:
        """Strong findings of a round: it happened, and they are at least likely."""
        return [
            finding
            for finding in self._sidecar.findings(played.since_ns)
            if finding.status == "open"
            and finding.manifest
            and finding.certainty is not Certainty.POSSIBLE
            and played.since_ns <= finding.first_ns <= played.performance.ended_ns
        ]


def say(text: str) -> None:
    """Print a line at once, so that a person sees how far it is."""
    print(text, flush=True)


def _title(kind: Kind) -> str:
    return kind.value.replace("_", " ")


def _how_sure(finding: Finding) -> str:
    """Why it is certain, or what keeps it from that."""
    if finding.certainty is Certainty.CERTAIN:
        return f"certain: {PROVED.get(finding.kind, 'the recorded versions leave no other order')}."
    return f"{finding.certainty}, not certain: it lacks {'; '.join(finding.missing)}."


def _folded(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="     ", subsequent_indent="     ")
