"""Generated histories with labels that were opened only afterwards: every injected race is found, and nothing else.

The generator lies outside the public project (`NOCLOBBER_HISTORIES`). Seeds are taken from the commit, so that each
state of the code meets histories that nobody has tuned it to.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.otlp_files import read_otlp

FOLDER = os.environ.get("NOCLOBBER_HISTORIES")
if not FOLDER:
    pytest.skip("NOCLOBBER_HISTORIES names no folder with the generator", allow_module_level=True)

KINDS = ("lost_update", "fork", "double_claim", "dirty_read")
EXTRAS = (
    (),
    ("--guarded", "0.5", "--locked", "0.3"),
    ("--loss", "0.05"),
    ("--skew", "200", "--hosts", "3"),
    ("--late", "5", "--duplicate", "0.1"),
)
BEYOND_ONE_CLOCK = {("dirty_read", "counter")}
"""A reused number is told from the one that was taken back by a clock; the generator's hosts share none."""


def _seed(*words: str) -> int:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return int.from_bytes(hashlib.blake2b(f"{commit} {words}".encode(), digest_size=3).digest())


@pytest.mark.parametrize("extra", EXTRAS, ids=["plain", "guarded", "loss", "skew", "late"])
@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("versions", ["counter", "chain", "fingerprint", "none"])
def test_labels(tmp_path: Path, versions: str, mode: str, extra: tuple[str, ...]) -> None:
    """Each labelled race is found as surely as its label promises; no other is `likely` or better."""
    base, seed = tmp_path / "h", _seed(versions, mode, *extra)
    words = [word for kind in KINDS for word in ("--inject", f"{kind}=3")]
    subprocess.run(
        [sys.executable, str(Path(str(FOLDER)) / "generate.py"), "--out", str(base), "--seed", str(seed),
         "--ops", "800", "--strands", "10", "--resources", "30",
         "--versions", versions, "--mode", mode, *words, *extra],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    findings = evaluate(read_otlp([f"{base}.otlp.jsonl"])).findings
    labels = [json.loads(line) for line in Path(f"{base}.labels.jsonl").read_text().splitlines()]
    injected = {span for label in labels for span in label["spans"]}
    false = [f for f in findings if f.certainty is not Certainty.POSSIBLE and not injected & _spans(f)]
    assert [(seed, str(f.kind), f.explanation) for f in false] == []
    for label in labels:
        if label["certainty"] is None or (label["kind"], versions) in BEYOND_ONE_CLOCK:
            continue
        least = Certainty(label["certainty"]).rank
        kinds = {label["kind"], *label["accept"]}
        hits = [f for f in findings if set(label["spans"]) & _spans(f) and kinds & {f.kind, *f.also}]
        assert any(f.certainty.rank >= least for f in hits), (seed, label, [(f.kind, f.certainty) for f in hits])


def _spans(finding: Finding) -> set[str]:
    return {access.span_id for access in finding.accesses}
