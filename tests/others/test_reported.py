"""Races that others have reported in public, found again in the versions that have them, in the libraries' own code."""

import os
from pathlib import Path

import pytest
from crowd_stage import crowd, unjudged
from test_crowds import needs

AFFECTED, MENDED = "NOCLOBBER_MEM0_AFFECTED", "NOCLOBBER_MEM0_MENDED"
"""Folders with mem0ai 2.0.7 and 2.0.8, to be laid over what is installed."""


@pytest.mark.long
def test_tasks_of_one_call_lose_links(tmp_path: Path) -> None:
    """mem0ai/mem0#5553: what `delete_all` starts beside each other, each writes back the list that all have read."""
    needs("mem0")
    if not (os.environ.get(AFFECTED) and os.environ.get(MENDED)):
        pytest.skip(f"{AFFECTED} and {MENDED} name no folders with mem0ai 2.0.7 and 2.0.8: `nox -s others`")
    for name in ("affected", "mended"):
        (tmp_path / name).mkdir()
    found = crowd(tmp_path / "affected", "mem0_links", "forget", overlay=os.environ[AFFECTED])
    assert found.output != ["[] 0"]  # links to memories that are gone
    assert set(found.sure) == {("lost_update", "likely")}
    assert unjudged("mem0ai 2.0.7", found.findings) == []
    mended = crowd(tmp_path / "mended", "mem0_links", "forget", overlay=os.environ[MENDED])
    assert mended.output == ["[] 0"]
    assert mended.findings == []


@pytest.mark.long
def test_additions_of_two_agents_lose_links(tmp_path: Path) -> None:
    """mem0ai/mem0#6243: two who add memories that name one person; it is not mended in the newest version."""
    needs("mem0")
    found = crowd(tmp_path, "mem0_links", "learn")
    ((links, memories),) = [line.strip("[").split("] ") for line in found.output]
    assert int(links) < int(memories)
    assert set(found.sure) == {("lost_update", "likely")}
    assert unjudged("mem0ai", found.findings) == []
