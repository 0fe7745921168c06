"""Short programs that any instrumentation can play on its own store, and what the analyzer has to make of each.

Spans can be in perfect form and still say nothing: a base that is never sent loses no update. So whoever instruments a
store plays the stories that the store allows, each in a record of its own, and is told whether the race was found, and
whether the way out of it was left in peace.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Defence, Kind
from noclobber_analyzer.evaluate import Evaluation

__all__ = ["STORIES", "Story", "differences"]


class Story(NamedTuple):
    """One of them.

    Attributes:
        task: what the program does.
        found: the kind that has to be found, and none else; None: nothing may be.
        defended: what has to be counted as the reason why nothing was lost; None: no matter.
    """

    task: str
    found: Kind | None
    defended: Defence | None = None


STORIES: Final[Mapping[str, Story]] = {
    "lost-update": Story(
        "Two strands read one key; when both have read, each writes what it computed.", Kind.LOST_UPDATE
    ),
    "compare-and-set": Story(
        "The same, but each write asks for the version that was read; the one that is refused reads again and repeats.",
        None, Defence.REJECTED,
    ),
    "increment": Story("Both strands let the store itself add.", None, Defence.ATOMIC),
    "lock": Story(
        "The same as lost-update, but each strand takes a lock of the store before it reads, and gives it back "
        "after it has written.", None, Defence.LOCK,
    ),
    "in-turn": Story("The second strand reads after the first has written, and both write.", None),
    "started": Story("A strand reads and writes, then starts another one that reads and writes.", None),
    "apart": Story("Two strands read and write at once, each a key of its own.", None),
    "double-claim": Story(
        "Two workers take one task from a queue or table, neither gives it back, and both go on with it.",
        Kind.DOUBLE_CLAIM,
    ),
    "claim-once": Story("Two workers ask for tasks; each of three goes to one of them, which acknowledges it.", None),
    "write-skew": Story(
        "Two transactions read two rows, and each writes another one of them; both are committed.", Kind.WRITE_SKEW
    ),
    "rolled-back": Story("Two transactions read and write one row; one is rolled back before the other begins.", None),
}  # fmt: skip


def differences(story: Story, evaluation: Evaluation) -> list[str]:
    """Where the verdict is another than it has to be, in words; empty if it is right."""
    strong = [each for each in evaluation.findings if each.manifest and each.certainty is not Certainty.POSSIBLE]
    told = [
        f"{each.kind} ({each.certainty}) on {each.resource}: {each.explanation}"
        for each in strong if each.kind is not story.found
    ]  # fmt: skip
    if story.found is not None and all(each.kind is not story.found for each in strong):
        weak = [each for each in evaluation.findings if each.kind is story.found]
        missing = "; ".join(dict.fromkeys(text for each in weak for text in each.missing))
        told.append(f"{story.found} was not found" + (f", or only as possible: {missing}" if weak else ""))
    reasons = {each.reason for each in evaluation.defended}
    if story.defended is not None and story.defended not in reasons:
        seen = ", ".join(sorted(reasons)) or "nothing"
        told.append(f"nothing was counted as defended by {story.defended}; counted was {seen}")
    return told
