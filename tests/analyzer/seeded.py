"""Seeded histories with labels: which options to try, how to make one, and what an analysis of it got wrong.

`design` gives as many rows of options as are asked for, in which every pair of values of two options appears: what two
options together bring out is brought out. `make` runs the generator and renames every resource in the telemetry, so
that nothing can rest on a name; segments are renamed one by one, so that what lies below a container still does.
`Labels` are read only after the analysis. The generator lies outside the public project (`NOCLOBBER_HISTORIES`).
"""

import contextlib
import hashlib
import io
import itertools
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noclobber import cli
from noclobber.contract import Certainty

__all__ = [
    "KINDS", "OPTIONS", "Judged", "Label", "Telemetry", "design", "false", "judged", "labels", "make", "missed",
    "pairs", "renamed", "telemetry",
]  # fmt: skip

KINDS = (
    "lost_update", "dirty_read", "intermediate_read", "stale_read", "non_repeatable_read", "write_skew", "phantom_read",
    "fork", "lock_violation", "double_claim", "duplicate_effect", "out_of_order",
)  # fmt: skip
"""Every kind that the generator can inject."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "versions": ("counter", "chain", "fingerprint", "none"),
    "mode": ("single", "txn"),
    "guarded": ("0", "0.3", "1"),
    "locked": ("0", "0.4"),
    "loss": ("0", "0.02", "0.15"),
    "late": ("0", "5"),
    "duplicate": ("0", "0.2"),
    "skew": ("0", "5", "2000"),
    "hosts": ("1", "3"),
    "strands": ("4", "10", "24"),
    "resources": ("8", "60"),
}
"""What is tried of each option of the generator."""

TRIES = 60
"""Random rows among which the next one of a design is chosen."""

Finding = Mapping[str, Any]
Span = Mapping[str, Any]
Pair = tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Label:
    """One injected anomaly: its kind, others that fit as well, its anchors, and how sure an analyzer should be.

    `certainty` None promises nothing: the capture can't show it.
    """

    kind: str
    fits: frozenset[str]
    spans: frozenset[str]
    certainty: Certainty | None

    def at_most(self, certainty: str | None) -> "Label":
        """The same, expected no surer than this."""
        cap = Certainty(certainty) if certainty is not None else None
        known = self.certainty is not None and cap is not None
        return replace(self, certainty=min(self.certainty, cap, key=lambda c: c.rank) if known else None)

    def also_met_by(self, kind: str) -> "Label":
        """The same, another kind fits as well."""
        return replace(self, fits=self.fits | {kind})

    def is_met_by(self, finding: Finding) -> bool:
        """Whether a finding speaks of this anomaly, however sure it is."""
        return bool(self.spans & _spans(finding) and self.fits & _kinds(finding))


@dataclass(frozen=True, slots=True)
class Judged:
    """What `noclobber check` printed."""

    findings: tuple[Finding, ...]
    summary: Mapping[str, Any]


class Telemetry:
    """What was captured, read without the analyzer: attributes by name, without the prefix, and start and end.

    Attributes:
        spans: by id. units, resources: their spans, ascending by `seq`.
    """

    def __init__(self, spans: Mapping[str, Span]) -> None:
        self.spans = spans
        self.units: dict[str, list[Span]] = defaultdict(list)
        self.resources: dict[str, list[Span]] = defaultdict(list)
        for span in sorted(spans.values(), key=lambda span: int(span["seq"])):
            self.units[span["unit"]].append(span)
            self.resources[span["resource"]].append(span)

    def are_shared(self, name: str, value: str) -> bool:
        """Whether writes with this attribute were made by several strands on one resource."""
        for own in self.resources.values():
            if len({span["strand"] for span in own if span.get(name) == value and span["op"] != "read"}) > 1:
                return True
        return False

    def repeats(self, name: str) -> bool:
        """Whether some value of an attribute comes again."""
        counts = Counter(span[name] for span in self.spans.values() if name in span)
        return any(count > 1 for count in counts.values())


def design(rows: int, seed: int) -> list[dict[str, str]]:
    """Rows of options: each the one of some random ones whose pairs of values appeared least so far."""
    chance = random.Random(seed)
    seen: Counter[Pair] = Counter()
    chosen: list[dict[str, str]] = []
    for _ in range(rows):
        tried = [{name: chance.choice(values) for name, values in OPTIONS.items()} for _ in range(TRIES)]
        best = max(tried, key=lambda row: sum(0.1 ** seen[pair] for pair in pairs(row)))
        seen.update(pairs(best))
        chosen.append(best)
    return chosen


def pairs(row: Mapping[str, str]) -> Iterator[Pair]:
    """The pairs of values of two options that a row holds."""
    return itertools.combinations(sorted(row.items()), 2)


def make(folder: Path, base: Path, seed: int, row: Mapping[str, str], *words: str) -> None:
    """Generate a history, and rename its resources."""
    options = [word for name, value in row.items() for word in (f"--{name}", value)]
    options += ["--out", str(base), "--seed", str(seed), *words]
    subprocess.run([sys.executable, str(folder / "generate.py"), *options], check=True, capture_output=True, timeout=60)
    file = _otlp(base)
    file.write_text("".join(f"{renamed(line, str(seed))}\n" for line in file.read_text().splitlines()))


def _otlp(base: Path) -> Path:
    return Path(f"{base}.otlp.jsonl")


def renamed(line: str, key: str) -> str:
    """A line of telemetry with every resource under another name; the same name for the same one."""
    request = json.loads(line)
    for group in request["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                for attribute in span["attributes"]:
                    if attribute["key"] in ("noclobber.resource", "noclobber.locks", "noclobber.result.resources"):
                        _rename(attribute["value"], key)
    return json.dumps(request)


def _rename(value: dict[str, Any], key: str) -> None:
    for one in value["arrayValue"]["values"] if "arrayValue" in value else (value,):
        uri, hash_sign, token = one["stringValue"].partition("#")
        scheme, rest = uri.split("://")
        segments = [_word(segment, key) if segment else "" for segment in rest.split("/")]
        one["stringValue"] = f"{scheme}://{'/'.join(segments)}{hash_sign}{token}"


def _word(segment: str, key: str) -> str:
    return "n" + hashlib.blake2b(segment.encode(), key=key.encode(), digest_size=5).hexdigest()


def judged(base: Path) -> Judged:
    """What `noclobber check --format json` makes of a history."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cli.main(["check", "--format", "json", str(_otlp(base))])
    *findings, last = map(json.loads, printed.getvalue().splitlines())
    return Judged(tuple(findings), last["summary"])


def telemetry(base: Path) -> Telemetry:
    """The spans of a history."""
    spans: dict[str, Span] = {}
    for line in _otlp(base).read_text().splitlines():
        for group in json.loads(line)["resourceSpans"]:
            for scope in group["scopeSpans"]:
                for span in scope["spans"]:
                    times = {"start": int(span["startTimeUnixNano"]), "end": int(span["endTimeUnixNano"])}
                    spans[span["spanId"]] = times | {
                        attribute["key"].removeprefix("noclobber."): next(iter(attribute["value"].values()))
                        for attribute in span["attributes"]
                    }
    return Telemetry(spans)


def labels(base: Path) -> list[Label]:
    """The anomalies that were injected."""
    read = map(json.loads, Path(f"{base}.labels.jsonl").read_text().splitlines())
    return [
        Label(
            each["kind"],
            frozenset({each["kind"], *each["accept"]}),
            frozenset(each["spans"]),
            Certainty(each["certainty"]) if each["certainty"] else None,
        )
        for each in read
    ]


def missed(injected: Iterable[Label], findings: Iterable[Finding]) -> Iterator[str]:
    """Anomalies that were not found as surely as they should be, with what was said of their accesses."""
    findings = list(findings)
    for label in injected:
        if label.certainty is None:
            continue
        hits = [finding for finding in findings if label.is_met_by(finding)]
        if not any(Certainty(finding["certainty"]).rank >= label.certainty.rank for finding in hits):
            near = [_told(finding) for finding in findings if label.spans & _spans(finding)]
            yield f"missed {label.kind} {label.certainty} {sorted(label.spans)}; found there: {near}"


def false(injected: Iterable[Label], findings: Iterable[Finding]) -> Iterator[str]:
    """Findings at `likely` or better of what happened that no injected anomaly explains."""
    injected = list(injected)
    for finding in findings:
        strong = finding["manifest"] and finding["certainty"] != Certainty.POSSIBLE
        if strong and not any(label.is_met_by(finding) for label in injected):
            near = [label.kind for label in injected if label.spans & _spans(finding)]
            yield f"false {_told(finding)} {sorted(_spans(finding))}; injected there: {near}"


def _spans(finding: Finding) -> set[str]:
    return {access["span_id"] for access in finding["accesses"]}


def _kinds(finding: Finding) -> set[str]:
    return {finding["kind"], *finding["also"]}


def _told(finding: Finding) -> str:
    return f"{finding['kind']} {finding['certainty']} {finding['explanation']} {finding['missing']}"
