"""One machine's clock an hour off makes nothing more certain, with bounds between clocks and without any.

Names change with recorded times (the first of two, who is named the later); what is told of which accesses, and how
surely, does not.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import Certainty, Op, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.otlp_files import read_otlp
from story import Story

HOUR_NS = 3_600_000_000_000
FOLDER = os.environ.get("NOCLOBBER_HISTORIES")
KINDS = ("lost_update", "dirty_read", "intermediate_read", "stale_read", "non_repeatable_read", "write_skew",
         "phantom_read", "fork", "lock_violation", "double_claim", "duplicate_effect", "out_of_order")  # fmt: skip
SYNC = frozenset({Op.SEND, Op.RECEIVE, Op.SPAWN, Op.JOIN, Op.LOCK, Op.UNLOCK})
generated = pytest.mark.skipif(not FOLDER, reason="NOCLOBBER_HISTORIES names no folder with the generator")


def shifted(accesses: Sequence[Access], host: str, by_ns: int) -> Evaluation:
    """What is made of accesses of which one host's are recorded at other times."""
    builder = HistoryBuilder()
    for access in accesses:
        off = by_ns if access.process.host == host else 0
        moved = changed(access, start_ns=access.start_ns + off, end_ns=access.end_ns + off)
        builder.add(moved, moved.name)
    return evaluate(builder.finish(ended=True))


def surer(after: Evaluation, before: Evaluation) -> list[str]:
    """Findings that are likely or certain, and that nothing as sure had told of the same accesses."""
    return [
        f"{found.kind} {found.certainty}: {found.explanation}"
        for found in after.findings
        if found.certainty is not Certainty.POSSIBLE and not any(_tells(known, found) for known in before.findings)
    ]


def _tells(known: Finding, found: Finding) -> bool:
    """Whether it told of one of the same accesses, as surely or by naming the kind.

    Which of two is called the first, and with that which kind takes in the other, may hang on recorded times.
    """
    same = known.id == found.id or bool(_spans(known) & _spans(found))
    return same and (known.certainty.rank >= found.certainty.rank or found.kind in known.also)


def _spans(finding: Finding) -> set[str]:
    return {access.span_id for access in finding.accesses}


def history_of(folder: Path, seed: int, *words: str) -> tuple[History, list[dict[str, object]]]:
    """A generated history with its labels."""
    base = folder / f"h{seed}"
    subprocess.run(
        [sys.executable, str(Path(str(FOLDER)) / "generate.py"), "--out", str(base), "--seed", str(seed),
         "--ops", "600", "--strands", "10", "--resources", "30", *words],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    labels = [json.loads(line) for line in Path(f"{base}.labels.jsonl").read_text().splitlines()]
    return read_otlp([f"{base}.otlp.jsonl"]), labels


def _shift_of(history: History, seed: int, *, bounded: bool) -> tuple[list[Access], str, int]:
    chance = random.Random(seed)
    host = chance.choice(sorted({str(process.host) for process in history.processes.values()}))
    kept: Callable[[Access], bool] = (lambda a: True) if bounded else (lambda a: a.op not in SYNC)
    return [a for a in history.accesses if kept(a)], host, chance.choice((-1, 1)) * HOUR_NS


@generated
@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("versions", ["counter", "fingerprint"])
def test_all_kinds(tmp_path: Path, versions: str, mode: str) -> None:
    """Generated histories of all kinds: as sure as before, whichever host's clock is off."""
    injected = [word for kind in KINDS for word in ("--inject", f"{kind}=1")]
    history, _ = history_of(tmp_path, 31, *injected, "--versions", versions, "--mode", mode, "--skew", "20")
    for bounded in (True, False):
        accesses, host, by_ns = _shift_of(history, 31, bounded=bounded)
        assert surer(shifted(accesses, host, by_ns), shifted(accesses, host, 0)) == []


@generated
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("hosts", ["2", "3", "5"])
@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("versions", ["counter", "chain", "fingerprint", "none"])
def test_all_kinds_many(tmp_path: Path, versions: str, mode: str, hosts: str) -> None:
    """The same over many seeds and hosts; and as generated nothing is more than possible that was not injected."""
    injected = [word for kind in KINDS for word in ("--inject", f"{kind}=2")]
    for seed, skew in enumerate(("0", "5", "200"), start=40):
        words = (*injected, "--versions", versions, "--mode", mode, "--hosts", hosts, "--skew", skew)
        history, labels = history_of(tmp_path, seed, *words)
        meant = {span for label in labels for span in label["spans"]}  # type: ignore[attr-defined]
        false = [
            f for f in evaluate(history).findings if f.certainty is not Certainty.POSSIBLE and not meant & _spans(f)
        ]
        assert [(seed, f.kind, f.explanation) for f in false] == []
        for bounded in (True, False):
            accesses, host, by_ns = _shift_of(history, seed, bounded=bounded)
            assert surer(shifted(accesses, host, by_ns), shifted(accesses, host, 0)) == []


@generated
@pytest.mark.parametrize(("hosts", "skew"), [("2", "0"), ("3", "50"), ("5", "200")])
def test_reused_numbers(tmp_path: Path, hosts: str, skew: str) -> None:
    """A number that was used again after an abort is told from the one that was read, on machines of several clocks.

    Not where the next write followed within the bound: at least two of three are found, where there were a tenth.
    """
    found = asked = 0
    for seed in range(3):
        history, labels = history_of(tmp_path, seed, "--inject", "dirty_read=5", "--hosts", hosts, "--skew", skew)
        dirty = [f for f in evaluate(history).findings if f.kind == "dirty_read" and f.certainty is Certainty.LIKELY]
        asked += len(labels)
        found += sum(any(set(label["spans"]) <= _spans(f) for f in dirty) for label in labels)  # type: ignore[call-overload]
    assert asked == 15
    assert found >= 10


WORDS = ("rx1", "rx2", "rx3", "wx1", "wx2<1", "wx3<2", "wx3<1", "wx2", "ux4", "ix5<absent", "dx", "rx-", "s1", "s2",
         "g1", "g2", "s3", "g3", "l7", "l8", "n7", "tx9", "e9", "f1", "m", "qx1", "[", "]", "}")  # fmt: skip


@st.composite
def stories(draw: st.DrawFn) -> str:
    """What two or three strands, each on a machine of its own, do to one resource; transactions that fit."""
    told, open_ = [], set()
    for strand, word in draw(
        st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(WORDS)), min_size=2, max_size=14)
    ):
        if (word == "[") == (strand in open_) and word in "[]}":
            continue
        (open_.add if word == "[" else open_.discard)(strand) if word in "[]}" else None
        told.append(strand + word + draw(st.sampled_from(["", "", " |"])))
    return " ".join(told)


@given(
    stories(), st.sampled_from(list(VersionKind)), st.sampled_from(["As8a Bg8a Bs8b Ag8b As8c Cg8c Cs8d Ag8d ", ""]),
    st.sampled_from("ABC"), st.sampled_from([-HOUR_NS, -15_000_000_000, 3_000_000, HOUR_NS]),
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True)
def test_stories(story: str, kind: VersionKind, exchanges: str, strand: str, by_ns: int) -> None:
    """Any small story: nothing is surer when one machine's clock is off, be the clocks bounded or not."""
    accesses = Story(kind=kind, clocks="apart").accesses(exchanges + story)
    assert surer(shifted(accesses, f"host{strand}", by_ns), shifted(accesses, f"host{strand}", 0)) == []
