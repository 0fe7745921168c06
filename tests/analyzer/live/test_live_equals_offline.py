"""Live analysis finds what `check` finds in a file of the same accesses, ids and all, however they arrive."""

import json
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from intake import Intake, Request, generated, one_by_one, written
from streams import a_stream, run_dry
from told_requests import told_requests

from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.ledger import access_names
from noclobber_analyzer.otlp_files import read_otlp

ALL = ("lost_update", "fork", "dirty_read", "double_claim", "lock_violation", "stale_read")
INJECTED = [word for kind in ALL for word in ("--inject", f"{kind}=2")]


def offline(folder: Path, requests: list[Request]) -> Evaluation:
    return evaluate(read_otlp([written(folder, requests)]))


def plain(evaluation: Evaluation) -> tuple[list[str], list[tuple[str, str]]]:
    findings = [finding.to_json() for finding in evaluation.findings]
    return findings, sorted((each.span_id, str(each.reason)) for each in evaluation.defended)


def stored(intake: Intake) -> tuple[list[str], list[tuple[str, str]]]:
    """What holds at last; how often it was revised on the way depends on the order of arrival."""
    findings = [msgspec.structs.replace(finding, revision=1).to_json() for finding in intake.findings()]
    rows = intake.store.rows("SELECT span_id, reason FROM defences ORDER BY span_id, reason")
    return findings, [(str(span), str(reason)) for span, reason in rows]


@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("versions", ["counter", "fingerprint"])
def test_one_arrival(intake: Intake, tmp_path: Path, mode: str, versions: str) -> None:
    """What arrives in order in one piece gives the same findings and the same defended accesses."""
    requests = generated(
        tmp_path, "--ops", "400", "--mode", mode, "--versions", versions, "--guarded", "0.2", *INJECTED
    )
    intake.take(requests)
    run_dry(a_stream(intake.store))
    assert stored(intake) == plain(offline(tmp_path, requests))
    assert intake.findings()


def test_messages_effects_and_locks(intake: Intake, tmp_path: Path) -> None:
    """What is done twice, too late, or under a lock that was lost is the same, also from pieces."""
    kinds = ("duplicate_effect", "out_of_order", "lock_violation", "double_claim")
    injected = [word for kind in kinds for word in ("--inject", f"{kind}=2")]
    requests = generated(tmp_path, "--ops", "400", "--locked", "0.3", *injected)
    spans = one_by_one(requests)
    stream = a_stream(intake.store, batch_rows_max=97)
    for at in range(0, len(spans), 211):
        intake.take(spans[at : at + 211])
        run_dry(stream)
    assert stored(intake) == plain(offline(tmp_path, requests))
    assert set(kinds) <= {str(finding.kind) for finding in intake.findings()}


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_in_any_pieces_three_times(intake: Intake, tmp_path: Path, seed: int) -> None:
    """Spans shuffled, cut into pieces between which the analyzer looks, all of it three times: the same set."""
    requests = generated(tmp_path, "--ops", "300", "--seed", str(seed), *INJECTED)
    expected = plain(offline(tmp_path, requests))
    spans = one_by_one(requests) * 3
    random.Random(seed).shuffle(spans)
    stream = a_stream(intake.store, batch_rows_max=97)
    for at in range(0, len(spans), 211):
        intake.take(spans[at : at + 211])
        run_dry(stream)
    assert stored(intake) == expected


def test_view_by_view(intake: Intake, tmp_path: Path) -> None:
    """Where judgements see parts of the kept history only, a few resources at a time, the findings are the same."""
    requests = generated(tmp_path, "--ops", "600", "--seed", "5", *INJECTED)
    intake.take(requests)
    run_dry(a_stream(intake.store, whole_max=0, resources_max=7, batch_rows_max=150))
    assert stored(intake) == plain(offline(tmp_path, requests))


@pytest.mark.parametrize("whole_max", [0, 4000])
def test_measured_clocks(intake: Intake, tmp_path: Path, whole_max: int) -> None:
    """Bounds between machines' clocks are those of all that is kept, and verdicts follow when they get narrower."""
    chosen = ("--ops", "600", "--seed", "5", "--hosts", "3", "--skew", "50", "--inject", "dirty_read=6")
    requests = generated(tmp_path, *chosen)
    expected = offline(tmp_path, requests)
    spans = one_by_one(requests)
    random.Random(3).shuffle(spans)
    stream = a_stream(intake.store, whole_max=whole_max, resources_max=7)
    for at in range(0, len(spans), 211):
        intake.take(spans[at : at + 211])
        run_dry(stream)
    assert stored(intake) == plain(expected)
    assert any("measured bound" in missing for f in expected.findings for missing in f.missing)


@pytest.mark.parametrize("last", [1, 2, 4])
def test_a_circle_of_waits_that_a_join_closes(intake: Intake, tmp_path: Path, last: int) -> None:
    """Whichever of the calls arrives last: who took the locks, who waits for them, who waits for another's end."""
    *spans, mark = told_requests("Blb1 Cla2 ( Ala>C!rejected Clb>B!unknown B+A )")
    spans.append(spans.pop(last))
    stream = a_stream(intake.store, whole_max=0)
    for arrived in (spans[:-1], [spans[-1], mark]):
        intake.take(arrived)
        run_dry(stream)
    expected = offline(tmp_path, [*spans, mark])
    assert [finding.kind for finding in expected.findings] == ["deadlock"]
    assert stored(intake) == plain(expected)


def test_lost_spans(intake: Intake, tmp_path: Path) -> None:
    """What is missing weakens both in the same words."""
    requests = generated(tmp_path, "--ops", "500", "--seed", "3", "--loss", "0.05", *INJECTED)
    intake.take(requests)
    run_dry(a_stream(intake.store))
    assert stored(intake) == plain(offline(tmp_path, requests))


def but_for_kept_kinds(found: list[Finding], expected: list[Finding]) -> list[Finding]:
    """What was found, with a finding that kept its older kind replaced by the expected one that it names in `also`."""
    known = {finding.id for finding in expected}
    same = []
    for finding in found:
        later = [
            other for other in expected if other.kind in finding.also and access_names(finding) <= access_names(other)
        ]
        same += later if finding.id not in known and later else [finding]
    return sorted(same, key=lambda f: (f.first_ns, f.id))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("versions", ["counter", "chain", "fingerprint", "none"])
@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_many(intake: Intake, tmp_path: Path, *, versions: str, mode: str, seed: int) -> None:
    """All kinds of versions and units, with losses, hosts and locks, in any order, seen in parts."""
    rng = random.Random(f"{versions}{mode}{seed}")
    chosen = ("--seed", str(seed), "--versions", versions, "--mode", mode, "--hosts", "2", "--skew", "3")
    losses = ("--loss", "0.02", "--locked", "0.2", "--guarded", "0.2", "--duplicate", "0.1")
    requests = generated(tmp_path, "--ops", "500", *chosen, *losses, *INJECTED)
    spans = one_by_one(requests)
    rng.shuffle(spans)
    stream = a_stream(intake.store, whole_max=rng.choice([0, 300, 4000]), resources_max=rng.choice([5, 2000]))
    for at in range(0, len(spans), 301):
        intake.take(spans[at : at + 301])
        run_dry(stream)
    expected = offline(tmp_path, requests)
    found = [msgspec.structs.replace(finding, revision=1) for finding in intake.findings()]
    assert but_for_kept_kinds(found, expected.findings) == expected.findings
    assert stored(intake)[1] == plain(expected)[1]


# -- large, late, repeated, killed ---------------------------------------------------------------------------------

CHILD = """
    import json, sys, time
    sys.path[:0] = {places!r}
    from pathlib import Path
    from intake import Intake
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_collector.store import open_store
    from streams import a_stream, run_dry

    data, portion = Path({data!r}), int(sys.argv[1])
    store = open_store(f"chdb://{{data}}/store")
    intake = Intake(store, data / "spool")
    class Ahead:
        by_ns = 0

        def now_ns(self):
            return SYSTEM.now_ns() + self.by_ns

    clock = Ahead()
    stream = a_stream(store, clock, accesses_max=2_000_000)
    portions = sorted(data.glob("portion-*.json"))
    while portion < len(portions):
        intake.take(map(json.loads, portions[portion].read_text().splitlines()))
        portion += 1
        print("took", portion, flush=True)
        if portion % 2:
            stream.step()  # not all that is dirty: a kill finds it at work
    run_dry(stream)
    clock.by_ns = 61 * 10**9  # where much is kept, clocks are compared again once a minute
    run_dry(stream)
    print("done", flush=True)
    print(json.dumps([finding.to_json() for finding in intake.findings()]), flush=True)
    rows = store.rows("SELECT span_id, reason FROM defences ORDER BY span_id, reason")
    print(json.dumps([[str(span), str(reason)] for span, reason in rows]), flush=True)
"""


def delayed(requests: list[Request], rng: random.Random, spread_s: float) -> list[Request]:
    """The requests in an order as if each had been up to so long on its way; one in ten is sent again."""

    def arrival_ns(request: Request) -> float:
        spans = (s for g in request["resourceSpans"] for scope in g["scopeSpans"] for s in scope["spans"])
        return max(int(span["endTimeUnixNano"]) for span in spans) + rng.random() * spread_s * 1e9

    sent = [(arrival_ns(each), each) for each in requests]
    again = [(at + spread_s * 1e9 * rng.random(), each) for at, each in sent if rng.random() < 0.1]
    return [each for _, each in sorted([*sent, *again], key=lambda pair: pair[0])]


def killed_on_the_way(folder: Path, requests: list[Request], portions: int) -> tuple[list[Finding], list[list[str]]]:
    """What a live analysis finds that is killed in the middle and begun again."""
    size = -(-len(requests) // portions)
    for number in range(portions):
        lines = [json.dumps(each) for each in requests[number * size : (number + 1) * size]]
        (folder / f"portion-{number:03}.json").write_text("\n".join(lines))
    here = Path(__file__).parent
    script = textwrap.dedent(CHILD).format(places=[str(here), str(here.parent)], data=str(folder))
    child = subprocess.Popen([sys.executable, "-c", script, "0"], stdout=subprocess.PIPE, text=True, cwd=folder)
    assert child.stdout is not None
    while (said := child.stdout.readline().split()) != ["took", str(portions // 2)]:
        assert said, "it ended"
    time.sleep(0.2)  # in whatever it is doing then
    child.kill()
    child.communicate()
    last = subprocess.run(
        [sys.executable, "-c", script, str(portions // 2)], capture_output=True, text=True, cwd=folder, check=True
    )
    found, defended = last.stdout.splitlines()[-2:]
    return [Finding.from_json(each) for each in json.loads(found)], json.loads(defended)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    "operations", [100_000, pytest.param(1_000_000, marks=pytest.mark.exhaustive)], ids=["hundred-thousand", "million"]
)
def test_large_late_repeated_and_killed(tmp_path: Path, operations: int) -> None:
    """Delays up to 30 s, one request in ten twice, kill -9 in the middle: the same findings, ids and all."""
    words = ("--ops", str(operations), "--strands", "100", "--resources", str(operations // 20), "--guarded", "0.1")
    requests = generated(tmp_path, *words, "--locked", "0.1", "--late", "30", *INJECTED)
    expected = offline(tmp_path, requests)
    found, defended = killed_on_the_way(tmp_path, delayed(requests, random.Random(1), 30.0), portions=10)
    manifest = [msgspec.structs.replace(finding, revision=1) for finding in found if finding.manifest]
    assert but_for_kept_kinds(manifest, expected.findings) == expected.findings
    assert [tuple(each) for each in defended] == plain(expected)[1]
