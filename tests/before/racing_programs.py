"""Copies of the programs that race, which can be mended."""

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Program"]

PROGRAMS = Path(__file__).parent / "programs"


class Program:
    """Copies of the programs that race."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, words: Sequence[str] = ()) -> list[str]:
        """The command that runs a copy of program `name`."""
        self.path = self.folder / f"{name}.py"
        self.path.write_text((PROGRAMS / f"{name}.py").read_text())
        return ["python", str(self.path), *words]

    def mend(self) -> None:
        """Put the fix in."""
        text = self.path.read_text()
        assert 'HOW = "plain"' in text
        self.path.write_text(text.replace('HOW = "plain"', 'HOW = "mended"'))

    def environment(self) -> dict[str, str]:
        """What the programs need beside: which files are watched."""
        watched = ",".join(str(self.folder / name) for name in ("notes.txt", "memory.json", "config.json"))
        return {"NOCLOBBER_WATCH_FILES": watched, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
