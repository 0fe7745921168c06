"""Known findings: a file of them, so that a build fails on new ones alone.

A finding is known again by its likeness: kind, resource without what changes from run to run, and the places in the
code. So the file survives renumbered lines, renamed run ids and other ports; a race in another function is new. It is
JSON, one entry a bug, sorted, with enough beside the key for a person to review it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from noclobber.pacing.likeness import like
from noclobber_analyzer.errors import AnalyzerError
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.likeness import likeness, site

__all__ = ["BaselineError", "Entry", "baseline_text", "entries_of", "read_baseline"]

VERSION: Final = 1
Entry = dict[str, object]
"""What a person reads of a known finding."""


class BaselineError(AnalyzerError):
    """A baseline that can't be used: the message says which file and why."""


def _entry_of(finding: Finding) -> tuple[str, Entry]:
    """The key and the entry of a finding."""
    places = sorted({site(access.code) for access in finding.accesses if site(access.code)})
    return likeness(finding), {"kind": str(finding.kind), "resource": like(finding.resource), "where": places}


def baseline_text(entries: Mapping[str, Entry]) -> str:
    """The file."""
    return json.dumps({"noclobber_baseline": VERSION, "known": entries}, indent=1, sort_keys=True) + "\n"


def read_baseline(path: Path, *, may_be_missing: bool = False) -> dict[str, Entry]:
    """The entries of a file, by key.

    Raises:
        BaselineError: it can't be read, or is none.
    """
    try:
        told = json.loads(path.read_text())
        known = told["known"] if told["noclobber_baseline"] == VERSION else None
    except FileNotFoundError as error:
        if may_be_missing:
            return {}
        raise BaselineError(f"there is no baseline {path}") from error
    except OSError as error:
        raise BaselineError(f"the baseline {path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BaselineError(f"{path} is no baseline of noclobber") from error
    if not isinstance(known, dict) or not all(isinstance(entry, dict) for entry in known.values()):
        raise BaselineError(f"{path} is no baseline of this version")
    return known


def entries_of(findings: Iterable[Finding]) -> dict[str, Entry]:
    """The entries of findings, by key."""
    return dict(map(_entry_of, findings))
