"""`noclobber conformance`: does what somebody else's instrumentation sends keep to the contract?"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from noclobber.cli import Command, CommandError

if TYPE_CHECKING:
    from noclobber_analyzer.conformance.rules import Breach

__all__ = ["COMMAND"]

SHOWN: Final = 3
"""Examples of each broken rule."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber conformance`."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="OTLP files (JSON lines or protobuf, .gz too), folders, -"
    )
    parser.add_argument("--story", metavar="NAME", help="what the program that was recorded played; see --list")
    parser.add_argument("--planted", action="append", default=[], metavar="TEXT",
                        help="a value that the program worked with: it must be nowhere; repeatable")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print rules and stories, and end")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default), one for machines")


def run(words: argparse.Namespace) -> int:
    """Judge spans; 0: the contract is kept, 1: it is broken, 2: unusable input."""
    from noclobber_analyzer.conformance.record import breaches_of
    from noclobber_analyzer.conformance.rules import RULES
    from noclobber_analyzer.conformance.wire import read_wire
    from noclobber_analyzer.errors import InputError
    from noclobber_analyzer.report.text import plain

    if words.list:
        print("\n".join(_listed()))
        return 0
    if not words.paths:
        raise CommandError("name the files that were recorded (or --list for the rules)")
    try:
        spans = list(read_wire(words.paths))
        breaches = breaches_of(spans, words.planted)
        wrong = _played(words.story, words.paths) if words.story else []
    except InputError as error:
        raise CommandError(str(error)) from error
    ours = sum(span.scope.startswith("noclobber.") for span in spans)
    kept = bool(ours) and not wrong and not any(RULES[breach.rule].must for breach in breaches)
    lines = _as_json(breaches, wrong, ours, kept) if words.format == "json" else _as_text(breaches, wrong, ours, kept)
    print("\n".join(map(plain, lines)))
    return 0 if kept else 1


def _played(name: str, paths: Sequence[str]) -> list[str]:
    """What is wrong with the verdict on a story."""
    from noclobber_analyzer.conformance.stories import STORIES, differences
    from noclobber_analyzer.evaluate import evaluate
    from noclobber_analyzer.otlp_files import read_otlp

    if name not in STORIES:
        raise CommandError(f"there is no story '{name}'. Known: {', '.join(STORIES)}.")
    return differences(STORIES[name], evaluate(read_otlp(paths)))


def _as_text(breaches: "Sequence[Breach]", wrong: Sequence[str], ours: int, kept: bool) -> Iterator[str]:
    from noclobber_analyzer.conformance.rules import RULES

    groups: dict[str, list[Breach]] = defaultdict(list)
    for breach in breaches:
        groups[breach.rule].append(breach)
    for name, group in groups.items():
        rule = RULES[name]
        yield f"{'must' if rule.must else 'should'}  {name}  {len(group)}x  (contract {rule.section}) {rule.text}"
        for breach in group[:SHOWN]:
            yield f"        {breach.what}  [{breach.place}]"
        if len(group) > SHOWN:
            yield f"        and {len(group) - SHOWN} more"
    for text in wrong:
        yield f"must  the story was judged otherwise: {text}"
    verdict = (
        "the contract is kept" if kept else "the contract is broken" if ours else "there is no span of noclobber's"
    )
    yield f"{ours:,} spans of noclobber's: {verdict}"


def _as_json(breaches: "Sequence[Breach]", wrong: Sequence[str], ours: int, kept: bool) -> Iterator[str]:
    from noclobber_analyzer.conformance.rules import RULES

    for breach in breaches:
        rule = RULES[breach.rule]
        told = {"rule": breach.rule, "must": rule.must, "section": rule.section, "what": breach.what}
        yield json.dumps({**told, "place": breach.place}, ensure_ascii=False)
    yield json.dumps({"summary": {"spans": ours, "kept": kept, "story": list(wrong)}}, ensure_ascii=False)


def _listed() -> Iterator[str]:
    from noclobber_analyzer.conformance.rules import RULES
    from noclobber_analyzer.conformance.stories import STORIES

    for name, rule in RULES.items():
        yield f"{'must' if rule.must else 'should':<6}  {name:<20}  {rule.text}"
    yield ""
    for name, story in STORIES.items():
        yield f"story   {name:<20}  {story.task} -> {story.found or 'nothing'}"


COMMAND = Command(
    name="conformance",
    summary="does another instrumentation's record keep to the contract?",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber conformance run.jsonl\n"
        "  noclobber conformance --story lost-update --planted 'secret value' run.jsonl\n"
        "  noclobber conformance --list\n\n"
        "exit code: 0 the contract is kept, 1 it is broken, or the story was judged otherwise, 2 unusable input"
    ),
)
