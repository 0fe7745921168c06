"""Where agents of a framework play: their program under `noclobber run`, then `noclobber check`, and what was told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planted import found_in
from rounds import sanity

__all__ = ["SECRET", "Played", "play"]

PROGRAMS = Path(__file__).parent / "programs"
SECRET = "sk-planted-0123456789"
TIMEOUT_S = 100
KNOWN = ("has two agents", "overlaps itself")
"""What the checker takes for mistakes: a handoff is no new strand; one call of several keys is several accesses."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a program did.

    Attributes:
        output: what it printed. findings, summary: of `noclobber check`.
        accesses: its spans' attributes, without the prefix `noclobber.`, with their `scope`, in the order of calls.
    """

    output: str
    findings: list[dict[str, Any]]
    summary: dict[str, Any]
    accesses: list[dict[str, Any]]

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Kind and certainty of each finding."""
        return sorted((each["kind"], each["certainty"]) for each in self.findings)

    def of(self, prefix: str, *ops: str) -> list[dict[str, Any]]:
        """The accesses to resources whose names begin with `prefix`."""
        found = [each for each in self.accesses if each["resource"].startswith(prefix)]
        return [each for each in found if not ops or each["op"] in ops]

    def who(self, prefix: str) -> set[tuple[str, str | None, str | None]]:
        """Agent, run and step of those."""
        return {(each["agent"], each.get("run"), each.get("step")) for each in self.of(prefix)}


def play(folder: Path, agent: str, *words: str) -> Played:
    """Run the program `agent`, check what it did, and see that nothing else came of it."""
    file = folder / f"{'-'.join((agent, *(word for word in words if '/' not in word)))}.jsonl"
    program = (sys.executable, str(PROGRAMS / f"{agent}.py"), *words)
    environment = {"CREWAI_STORAGE_DIR": str(folder / "crewai"), "MEM0_DIR": str(folder / "mem0")}
    ran = _run(
        sys.executable, "-m", "noclobber.cli", "run", "--file", str(file), "--file-only", "--", *program, **environment
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[-2000:]
    check = _run(sys.executable, "-m", "noclobber.cli", "check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert "noclobber" not in (PROGRAMS / f"{agent}.py").read_text().replace("knows of noclobber", "")
    assert found_in(file.read_bytes(), SECRET) == []
    assert last["summary"]["coverage"]["lost_spans"] == 0
    checker = sanity()
    problems = [] if checker is None else checker.read(str(file))[0]
    assert [each for each in problems if not each.endswith(KNOWN)] == [], problems
    accesses = sorted(_accesses(file), key=lambda each: each["start"])
    _assert_one_after_the_other(accesses)
    return Played(ran.stdout, findings, last["summary"], accesses)


def _run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "NOCLOBBER_RERAISE": "1", "OPENAI_API_KEY": "none", "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "MEM0_TELEMETRY": "false",
        "ANONYMIZED_TELEMETRY": "false", "PYTHONWARNINGS": "ignore", **variables,
    }  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment)


def _assert_one_after_the_other(accesses: list[dict[str, Any]]) -> None:
    """In one strand no call begins before the one before has ended."""
    ends: dict[str, tuple[int, int]] = {}
    for each in sorted(accesses, key=lambda each: each["seq"]):
        start, end = ends.get(each["strand"], (0, 0))
        assert each["start"][0] == start or each["start"][0] >= end
        ends[each["strand"]] = (each["start"][0], each["end"])


def _accesses(file: Path) -> Iterable[dict[str, Any]]:
    for line in file.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    told = {
                        each["key"].removeprefix("noclobber."): _value(each["value"]) for each in span["attributes"]
                    }
                    if told["op"] not in ("mark", "join"):
                        start = (int(span["startTimeUnixNano"]), told["seq"])
                        end = int(span["endTimeUnixNano"])
                        yield {**told, "scope": scope["scope"]["name"], "start": start, "end": end}


def _value(value: dict[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "arrayValue":
        return [_value(each) for each in held["values"]]
    return int(held) if kind == "intValue" else held
