"""The blast radius live: however small the views, it reaches as far as in a file, and grows as more arrives."""

from pathlib import Path

from intake import Agent, Intake, Request, written
from streams import ACCOUNT, a_stream, run_dry

from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.reach import Reach

HANDS = 10


def lost() -> tuple[list[Agent], list[Request]]:
    """A lost update."""
    first, second = Agent("first"), Agent("second")
    return [first, second], [
        first.read(ACCOUNT, "1", 1.0), second.read(ACCOUNT, "1", 1.1),
        first.write(ACCOUNT, "1", "2", 1.2, version__overwritten="1"),
        second.write(ACCOUNT, "1", "3", 1.3, version__overwritten="2"),
    ]  # fmt: skip


def handed_on() -> tuple[list[Agent], list[Request]]:
    """From hand to hand: each reads what the one before wrote, and writes a thing of its own; the last one pays."""
    agents, requests = [], []
    name, version = ACCOUNT, "3"
    for number in range(HANDS):
        agent = Agent(f"hand-{number}")
        requests.append(agent.read(name, version, 2.0 + number))
        name, version = f"redis://h:6379/0/note:{number}", "1"
        requests.append(agent.write(name, None, version, 2.1 + number))
        agents.append(agent)
    requests.append(agents[-1].access("effect", "effect://bank/pay", 20.0, {"noclobber.effect.hash": "h"}))
    return agents, requests


def test_it_reaches_as_far_as_in_a_file(intake: Intake, tmp_path: Path) -> None:
    """Ten hands away somebody pays because of it: found in views of a few resources, and named in the sentence."""
    (agents, raced), (more, passed) = lost(), handed_on()
    ends = [agent.mark(30.0) for agent in (*agents, *more)]
    requests = [*raced, *passed, *ends]
    (expected,) = [f for f in evaluate(read_otlp([written(tmp_path, requests)])).findings if f.kind == "lost_update"]
    stream = a_stream(intake.store, whole_max=0)
    intake.take(raced)
    run_dry(stream)
    (before,) = [finding for finding in intake.findings() if finding.kind == "lost_update"]
    assert before.affected.accesses == ()
    intake.take([*passed, *ends])
    run_dry(stream)
    (found,) = [finding for finding in intake.findings() if finding.kind == "lost_update"]
    assert found.affected == expected.affected
    assert len(found.affected.accesses) == 2 * HANDS + 1
    assert found.explanation.endswith(f"Because of it `hand-{HANDS - 1}` then called `pay`.")
    assert (found.id, found.revision) == (before.id, 2)


def test_it_grows_with_what_arrives_later(intake: Intake, tmp_path: Path) -> None:
    """Hand by hand, in batches that touch nothing of the finding's own: it is judged anew all the same."""
    raced, passed = lost()[1], handed_on()[1]
    requests = [*raced, *passed]
    (expected,) = [f for f in evaluate(read_otlp([written(tmp_path, requests)])).findings if f.kind == "lost_update"]
    stream = a_stream(intake.store, whole_max=0)
    intake.take(raced)
    run_dry(stream)
    for at in range(0, len(passed), 5):
        intake.take(passed[at : at + 5])
        run_dry(stream)
    (found,) = [finding for finding in intake.findings() if finding.kind == "lost_update"]
    assert found.affected == expected.affected


def test_what_is_remembered_is_bounded_and_forgotten() -> None:
    """By unit, message, version and strand of what is affected; gone with the finding's resource."""
    from story import Story

    story = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cs9 Cwy4 C*E"
    made = Story().history(f"{story} Dg9 Dry4 Ery1 Fry9 Fg8")
    finding = evaluate(Story().history(story)).findings[0]
    reach = Reach()
    reach.follow([finding], made.by_name.get)
    asked = {(a.strand, str(a.op)): reach.of(a) for a in made.accesses if a.strand in "DEF"}
    assert asked == {
        ("D", "receive"): {"mem://x"}, ("D", "read"): {"mem://x"}, ("E", "read"): {"mem://x"},
        ("F", "read"): set(), ("F", "receive"): set(),
    }  # fmt: skip
    reach.forget(["mem://x"])
    assert len(reach) == 0
