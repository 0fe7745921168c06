"""Fault test 18, the hard way: `noclobber up` where the kernel gives it no more than 1 GiB.

Clients send as fast as they can. What the kernel can take back (pages of files) it takes back; whoever needs more than
the limit is killed. So nobody may be, and everything that was acknowledged has to be in the store, once.
"""

import time
from pathlib import Path

import pytest
from ledger import compare
from limit import MemoryLimit
from load import Load
from memory import memory_of
from processes import Up, ask, counted, wait_until
from results import write_result

from noclobber_collector.store import open_store

GIB = 1 << 30
CATCH_UP_S = 300.0


def loaded(up: Up, pause_s: float) -> int:
    """Spans that its loader has loaded and counted; asking costs it something, so after a pause."""
    time.sleep(pause_s)
    return int(counted(ask(f"{up.pages}/metrics").body.decode())["loader_loaded_spans_total"])


def overwhelm(folder: Path, seconds: float) -> dict[str, object]:
    """Send to it for so long, within a gibibyte; returns what was found."""
    try:
        limit = MemoryLimit(GIB)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    with limit:
        peak = 0.0
        with Up(folder, first=limit.enter) as up:
            up.wait_until_ready()
            engine, begun = up.child("noclobber_sidecar.engine"), time.monotonic()
            with Load(up.ports[1], 4, spans=500, pause_s=0.05) as load:
                while time.monotonic() - begun < seconds:
                    peak = max(peak, memory_of(up)[1])
                    time.sleep(1.0)
            sent = len(load.acknowledged)
            wait_until(lambda: loaded(up, pause_s=1.0) >= sent, CATCH_UP_S, "all that was acknowledged, loaded")
            assert up.child("noclobber_sidecar.engine") == engine, up.output
            assert up.stop() == 0
            assert limit.killed == 0
        found = {"seconds": seconds, "spans": sent, "peak_mib": limit.peak >> 20, "anonymous_mib": round(peak) >> 20}
    store = open_store(f"chdb://{up.data}/store", prepare=False)
    ledger = compare(store.rows, load)
    store.close()
    assert ledger.is_clean, ledger
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
def test_within_a_gibibyte_for_three_minutes(tmp_path: Path) -> None:
    """Nobody is killed, nothing is lost."""
    write_result("limit-up", overwhelm(tmp_path, 180))


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(4_000)
def test_within_a_gibibyte_for_half_an_hour(tmp_path: Path) -> None:
    """Nor later on."""
    write_result("limit-up-long", overwhelm(tmp_path, 1_800))
