"""What is stored, judged again as a whole: the history of a stretch of time, and what its judgement changes.

The same evaluator as live, over rows that the same decoder reads; what was done shortly before the stretch is read too,
so that bases and makers are known, but gives no findings of its own. What is found is written as live analysis writes
it: a finding that stands keeps its id and kind, one that no longer holds is taken back. Latent findings, where they
were asked for, are written as live analysis keeps them: the narrowest of each issue and day.

Source: analysis.md 9 (replay).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from noclobber.contract import Op
from noclobber.declarations import Declarations
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.cursor import BATCH_ROWS_MAX, Store
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.errors import AnalyzerError
from noclobber_analyzer.evaluate import Evaluation
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.ledger import Ledger
from noclobber_analyzer.live_latent import keep_narrowest, refuted
from noclobber_analyzer.reconcile import reconcile
from noclobber_analyzer.rows import add_spans, read_spans
from noclobber_analyzer.standing import Defences
from noclobber_analyzer.tables import open_findings, open_latent

__all__ = ["ACCESSES_MAX", "Stretch", "TooMuchError", "portions", "stored_history", "write_judgement"]

WARM_UP_NS: Final = 3_600 * SECOND_NS
ACCESSES_MAX: Final = 2_000_000
"""Accesses judged in one run; each takes 1 to 2 kB."""
END_OF_TIME_NS: Final = 2**63 - 1
REASON: Final = "`noclobber analyze` judged it anew over what is stored, and it does not hold"


class TooMuchError(AnalyzerError):
    """More accesses than one run judges; says how many."""


class Stretch(NamedTuple):
    """A stretch of time, by when accesses were called; None: open on that side."""

    since_ns: int | None = None
    until_ns: int | None = None

    def has(self, finding: Finding) -> bool:
        """Whether a finding came true within."""
        return (self.since_ns or 0) <= finding.last_ns < (self.until_ns or END_OF_TIME_NS)


def stored_history(
    store: Store,
    stretch: Stretch,
    progress: Callable[[int], None] | None = None,
    declarations: Declarations = NOTHING_DECLARED,
) -> History:
    """The history of a stretch, with what came shortly before.

    Args:
        store: holds the accesses.
        stretch: of time.
        progress: told how many rows have been read.
        declarations: what owners know of their resources.

    Raises:
        TooMuchError: it has more accesses than one run judges.
    """
    from_ns = max(0, (stretch.since_ns or 0) - WARM_UP_NS)
    until_ns = stretch.until_ns or END_OF_TIME_NS
    within = {"from": from_ns, "until": until_ns, "mark": str(Op.MARK)}
    where = "op != '' AND start_ns >= {from:UInt64} AND (start_ns < {until:UInt64} OR op = {mark:String})"
    minutes = store.rows(f"SELECT minute, count() FROM accesses WHERE {where} GROUP BY minute ORDER BY minute", within)  # noqa: S608  constants only
    total = sum(count for _, count in minutes)
    if total > ACCESSES_MAX:
        raise TooMuchError(
            f"the stretch has {total:,} accesses, and one run judges {ACCESSES_MAX:,}: narrow it (--since, --until)"
        )
    builder = HistoryBuilder(declarations)
    portion = f"minute >= {{first:UInt32}} AND minute <= {{last:UInt32}} AND {where}"
    for first, last in portions([(int(minute), int(count)) for minute, count in minutes]):
        add_spans(builder, read_spans(store, portion, {**within, "first": first, "last": last}))
        if progress is not None:
            progress(builder.spans)
    return builder.finish(ended=True, whole=stretch == Stretch())


def _goes_by_a_set_clock(finding: Finding, history: History) -> bool:
    """Whether an access of a finding is told by another clock than its process names (`clock_steps`)."""
    own = (history.by_name.get((each.trace_id, each.span_id)) for each in finding.accesses)
    return any(each is not None and each.process.clock != history.processes[each.process.id].clock for each in own)


def portions(minutes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last minutes of portions of so many rows, at least one minute each."""
    portions: list[tuple[int, int]] = []
    rows = 0
    for minute, count in minutes:
        if portions and rows + count <= BATCH_ROWS_MAX:
            portions[-1] = (portions[-1][0], minute)
            rows += count
        else:
            portions.append((minute, minute))
            rows = count
    return portions


def write_judgement(
    store: Store, history: History, evaluation: Evaluation, stretch: Stretch, now_ns: int, *, latent: bool = False
) -> Evaluation:
    """Write what a judgement changes; returns it as the store now has it, with kinds and revisions.

    Args:
        store: holds the findings.
        history: that was judged.
        evaluation: what was made of it.
        stretch: findings outside are left as they are.
        now_ns: wall time.
        latent: whether it looked for what luck kept apart, too.
    """
    within = [finding for finding in evaluation.findings if stretch.has(finding)]
    manifest = [finding for finding in within if finding.manifest]
    ledger = Ledger(store)
    ids = list(open_findings(store, max(0, (stretch.since_ns or 0) - WARM_UP_NS)))
    standing = {name: finding for name, finding in ledger.of(ids).items() if stretch.has(finding)}

    def kept(names: Iterable[tuple[str, str]]) -> bool:
        return all(name in history.by_name for name in names)

    changes = reconcile(
        replace(evaluation, findings=manifest),
        standing,
        holds=kept,
        because=lambda _: REASON,
        discredited=lambda finding: _goes_by_a_set_clock(finding, history),
    )
    ledger.write(changes.found, changes.gone, now_ns)
    defences = Defences(store)
    defences.read(0)
    defences.write(evaluation.defended, (), now_ns)
    if latent:
        lucky = [finding for finding in within if not finding.manifest]
        ids = list(open_latent(store, max(0, (stretch.since_ns or 0) - WARM_UP_NS)))
        told = [finding for finding in ledger.of(ids).values() if stretch.has(finding)]
        keep_narrowest(ledger, lucky, told, refuted(told, lucky, kept), now_ns)
    covered = {finding.id for finding in changes.found} | {f.id for f in manifest if f.id in standing}
    shown = [*ledger.of(sorted(covered)).values(), *(finding for finding in within if not finding.manifest)]
    return replace(evaluation, findings=sorted(shown, key=lambda f: (f.first_ns, f.id)))
