"""Fault test 20: SIGTERM under load drains, a new version reads an old spool; and what operators are told meanwhile."""

import json
import shutil
import time
from pathlib import Path

from ledger import compare
from load import Load
from processes import Up, ask, wait_until
from prometheus_client.parser import text_string_to_metric_families

from noclobber_collector.segments import closed_segments
from noclobber_collector.store import open_store
from noclobber_sidecar.engine_metrics import ENGINE

OLD_SPOOLS = sorted((Path(__file__).parent / "spools").glob("format-*"))
OLD_SPANS = 6
"""In each."""
DRAINED_S = 30.0


def test_sigterm_under_load_drains_and_an_old_spool_is_read(tmp_path: Path) -> None:
    """All that was acknowledged is in the store after the end, what former versions left in the spool too."""
    (tmp_path / "data").mkdir()
    for spool in OLD_SPOOLS:
        shutil.copytree(spool, tmp_path / "data" / "spool", dirs_exist_ok=True)
    with Up(tmp_path, environment={"NOCLOBBER_LOG": "json"}) as up:
        up.wait_until_ready()
        with Load(up.ports[1]) as load:
            load.wait_for(300)
            _assert_told(up)
            begun = time.monotonic()
            assert up.stop() == 0
            took_s = time.monotonic() - begun
    assert took_s <= DRAINED_S
    assert not closed_segments(up.data / "spool")
    assert not list((up.data / "spool").glob("*.open"))
    for line in up.output.splitlines():
        if line.startswith("{"):
            assert {"at", "level", "process", "message"} <= json.loads(line).keys()
    assert '"level": "ERROR"' not in up.output
    store = open_store(f"chdb://{up.data / 'store'}")
    try:
        assert compare(store.rows, load).is_clean
        assert store.rows("SELECT count() FROM accesses WHERE strand = 'old'") == [(len(OLD_SPOOLS) * OLD_SPANS,)]
    finally:
        store.close()


def _assert_told(up: Up) -> None:
    """Engine and receiver tell of themselves what they declare."""
    assert ask(f"{up.pages}/live").status == 200
    wait_until(lambda: ask(f"{up.pages}/ready").status == 200, what="a ready engine")
    engine = _families(up.pages)
    assert {row.name.removesuffix("_total") for row in ENGINE} <= engine.keys()
    receiver = _families(up.http)
    wait_until(
        lambda: _families(up.http)["noclobber_loader_loaded_spans"] > 0, what="the loader's figures at the receiver"
    )
    assert receiver["noclobber_loader_seen_seconds"] < 10


def _families(base: str) -> dict[str, float]:
    """First values by name; 0 where a metric has none now."""
    families = text_string_to_metric_families(ask(f"{base}/metrics").body.decode())
    return {family.name: family.samples[0].value if family.samples else 0.0 for family in families}
