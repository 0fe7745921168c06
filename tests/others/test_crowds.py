"""Others' libraries, used by many agents at once: what is found is true, and users who share nothing are left alone."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from crowd_stage import ACCESSES_MIN, crowd, unjudged

CROWDS = [
    ("langgraph", "langgraph.checkpoint.sqlite", "langgraph_crowd", ("threads",)),
    ("langgraph", "langgraph.checkpoint.sqlite", "langgraph_crowd", ("tasks",)),
    ("mem0ai", "mem0", "mem0_crowd", ("threads",)),
    ("mem0ai", "mem0", "mem0_crowd", ("tasks",)),
    ("openai-agents", "agents.run", "openai_agents_crowd", ()),
    ("crewai", "crewai", "crewai_crowd", ()),
]
SURE = {
    "langgraph": [("fork", "certain"), ("lost_update", "certain")],
    "mem0ai": [("lost_update", "likely")],
    "openai-agents": [("interleaved_writes", "likely")],
    "crewai": [("lost_update", "certain")],
}
"""What the races in `shared` are, and no more."""
IDS = ["-".join((each[0], *each[3])) for each in CROWDS]


def needs(module: str) -> None:
    """Skip where a library is not installed."""
    try:
        there = find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        pytest.skip(f"{module} is not installed: `nox -s others`")


@pytest.mark.long
@pytest.mark.parametrize(("library", "module", "program", "words"), CROWDS, ids=IDS)
def test_apart(library: str, module: str, program: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """Many users beside each other in one store, each with state of its own: nothing certain, nothing likely."""
    needs(module)
    played = crowd(tmp_path, program, *words, "apart")
    assert played.summary["accesses"] >= ACCESSES_MIN
    assert played.summary["coverage"]["lost_spans"] == 0
    assert played.sure == []
    assert unjudged(library, played.findings) == []


@pytest.mark.long
@pytest.mark.parametrize(("library", "module", "program", "words"), CROWDS, ids=IDS)
def test_shared(library: str, module: str, program: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """The same, and beside them those who do share: their races are found, and nothing besides."""
    needs(module)
    played = crowd(tmp_path, program, *words, "shared")
    assert played.summary["accesses"] >= ACCESSES_MIN
    assert played.sure == SURE[library]
    assert unjudged(library, played.findings) == []
