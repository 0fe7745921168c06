"""Fills an embedded store in a process of its own, since only one may hold it; prints the findings' ids as JSON.

Called with the store's folder, and `hostile` or `corpus` where the attacker's names, a part or all, belong in it.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "dashboard"))

import sample
from hostile import CORPUS, HOSTILE

from noclobber_analyzer.tables import append_findings
from noclobber_collector.store import open_store


def main(folder: str, *words: str) -> None:
    """Fill it; a folder alone gets its tables only."""
    store = open_store(f"chdb://{folder}")
    ids: dict[str, object] = {}
    if {"bank", "hostile", "corpus"} & set(words):
        names = CORPUS if "corpus" in words else HOSTILE
        finding = sample.fill(store, hostile="bank" not in words, names=names)
        ids = {
            "bank": finding.id,
            "issue": finding.issue,
            "hostile": [f"{1_001 + n:032x}" for n in range(len(names))],
            "names": names,
        }
    if "pair" in words:
        finding, rows = sample.bank()
        sample.insert_accesses(store, rows[:-1])
        append_findings(store, [(finding, finding.last_ns)])
        ids = {"bank": finding.id}
    store.close()
    print(json.dumps(ids))


main(*sys.argv[1:])
