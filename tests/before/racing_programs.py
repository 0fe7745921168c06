"""Copies of the programs that race, which can be mended."""

import os
from pathlib import Path

__all__ = ["Program"]

PROGRAMS = Path(__file__).parent / "programs"


class Program:
    """Copies of the programs that race."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, valkey: str) -> list[str]:
        """The command that runs a copy of program `name`."""
        self.path = self.folder / f"{name}.py"
        self.path.write_text((PROGRAMS / f"{name}.py").read_text())
        places = {
            "accounts": [valkey],
            "offices": [valkey],
            "tickets": [str(self.folder / "tickets.db")],
            "editors": [str(self.folder / "notes.txt")],
            "plans": [f"sqlite:///{self.folder / 'plans.db'}"],
        }
        return ["python", str(self.path), *places.get(name, [])]

    def mend(self) -> None:
        """Put the fix in."""
        text = self.path.read_text()
        assert 'HOW = "plain"' in text
        self.path.write_text(text.replace('HOW = "plain"', 'HOW = "mended"'))

    def environment(self) -> dict[str, str]:
        """What the programs need beside: which files are watched."""
        return {"NOCLOBBER_WATCH_FILES": str(self.folder / "*.txt"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
