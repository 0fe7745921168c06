"""What the store holds of the resources that are being judged."""

from typing import Any

import pytest

from noclobber.contract import Defence
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.evaluate import Defended
from noclobber_analyzer.standing import Defences

ONE = Defended("0" * 32, "1" * 16, Defence.LOCK, "mem://x", "a", 5)


@pytest.mark.parametrize("step_ns", [0, -1_000], ids=["stands still", "goes back"])
def test_what_was_said_last_counts(empty_store: Any, step_ns: int) -> None:
    """Defended, accused, defended and accused again while the clock stands still or goes back: also after a restart."""
    defences, now_ns = Defences(empty_store), SYSTEM.now_ns()  # of today: old rows go by themselves
    for times in range(4):
        defended = [] if times % 2 else [ONE]
        defences.write(defended, ["mem://x"], now_ns)
        now_ns += step_ns
        rows = empty_store.rows("SELECT span_id, reason FROM defences")
        assert [(str(span), str(reason)) for span, reason in rows] == [(each.span_id, "lock") for each in defended]
        if times == 1:
            defences = Defences(empty_store)
            defences.read(0)
