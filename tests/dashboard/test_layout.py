"""Where boxes stand: no arrow points left, whatever the clocks say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noclobber_dashboard.layout import ORDER_MAX, Layout, lay_out
from noclobber_dashboard.records import AccessRecord
from noclobber_dashboard.slices import EVENTS_MAX, program_pairs


def access(name: str, strand: str, seq: int, start_ns: int, end_ns: int, *, op: str = "read") -> AccessRecord:
    return AccessRecord(
        trace_id="t", span_id=name, start_ns=start_ns, end_ns=end_ns, op=op, resource="r", agent=strand, strand=strand,
        seq=seq, clock="c",
    )  # fmt: skip


def race() -> list[AccessRecord]:
    return [
        access("r1", "a", 1, 0, 1),
        access("r2", "b", 1, 5, 6),
        access("w1", "a", 2, 10, 11, op="write"),
        access("w2", "b", 2, 20, 21, op="write"),
    ]


def lefts(layout: Layout) -> dict[str, float]:
    return {key.removeprefix("t:"): place.x for key, place in layout.places.items()}


def test_what_ended_before_stands_left() -> None:
    """Under one clock the four accesses of a race get four columns in the order of time."""
    assert lefts(lay_out(race(), [])) == {"r1": 0, "r2": 1, "w1": 2, "w2": 3}


def test_overlapping_accesses_share_a_column() -> None:
    """Two accesses of which neither ended before the other began stand one above the other."""
    layout = lay_out([access("x", "a", 1, 0, 10), access("y", "b", 1, 5, 15)], [])
    assert lefts(layout) == {"x": 0, "y": 0}


def test_a_cause_stands_left_in_spite_of_clocks() -> None:
    """A message that arrives before it was sent, by two clocks, is still drawn from left to right."""
    late = access("sent", "a", 1, 100, 101)
    early = AccessRecord(
        trace_id="t", span_id="got", start_ns=0, end_ns=1, op="receive", resource="r", agent="b", strand="b", seq=1,
        clock="other",
    )  # fmt: skip
    assert lefts(lay_out([early, late], [("t:sent", "t:got")])) == {"sent": 0, "got": 1}


def test_a_cycle_is_broken_and_named() -> None:
    """Edges that close a cycle are given back, and every access still has a place."""
    events = [access("x", "a", 1, 0, 1), access("y", "b", 1, 0, 1)]
    layout = lay_out(events, [("t:x", "t:y"), ("t:y", "t:x")])
    assert (len(layout.places), layout.closing) == (2, frozenset({("t:y", "t:x")}))


def test_a_model_call_reaches_to_what_came_of_it() -> None:
    """The box of a model call ends where its strand goes on."""
    events = [access("m", "a", 1, 0, 100, op="model"), *race()[1:2], access("w", "a", 2, 120, 121, op="write")]
    layout = lay_out([*events, access("z", "b", 2, 50, 51)], [("t:z", "t:w")])
    model = layout.places["t:m"]
    assert model.x + model.width == layout.places["t:w"].x


def test_racing_lanes_are_neighbours() -> None:
    """A third lane never stands between the two that race."""
    events = [access("x", "a", 1, 0, 1), access("y", "b", 1, 2, 3), access("z", "c", 1, 4, 5)]
    assert lay_out(events, [], ("t:x", "t:z")).lanes == ("a", "c", "b")


def test_among_many_lanes_the_race_is_on_top() -> None:
    """With more lanes than fit a screen the racing two come first."""
    events = [access(f"x{number}", f"s{number}", 1, number, number) for number in range(8)]
    assert lay_out(events, [], ("t:x4", "t:x7")).lanes[:2] == ("s4", "s7")


@given(st.data())
def test_no_arrow_points_left(data: st.DataObject) -> None:
    """For any accesses, clocks and edges: an effect begins right of where its cause does, cycles excepted."""
    events = drawn(data)
    keys = st.sampled_from([event.key for event in events])
    edges = data.draw(st.lists(st.tuples(keys, keys), max_size=20))
    layout = lay_out(events, edges)
    assert set(layout.places) == {event.key for event in events}
    assert layout.by_time == (len(events) > ORDER_MAX)
    for source, target in {*edges, *program_pairs(events)} - layout.closing:
        if source != target:
            assert layout.places[source].x < layout.places[target].x


@given(st.data())
def test_boxes_of_one_lane_never_overlap(data: st.DataObject) -> None:
    """Whatever is drawn: in a lane a box ends before the next begins, and none lies outside the drawing."""
    events = drawn(data)
    layout = lay_out(events, [])
    for one, two in program_pairs(events):
        left, right = layout.places[one], layout.places[two]
        assert left.x + left.width <= right.x + 1e-9
    assert all(place.x >= 0 and place.x + place.width <= layout.columns + 1e-9 for place in layout.places.values())


@pytest.mark.parametrize("count", [1, 2, ORDER_MAX, ORDER_MAX + 1, 100, EVENTS_MAX])
def test_any_size_is_laid_out(count: int) -> None:
    """From one access to the most that a picture holds, edges between neighbours point right."""
    events = [access(f"{n}", f"s{n % 9}", n // 9 + 1, n * 1_000, n * 1_000 + 5_000) for n in range(count)]
    edges = [(events[n].key, events[n + 1].key) for n in range(count - 1)]
    layout = lay_out(events, edges)
    assert len(layout.places) == count
    assert layout.closing == frozenset()
    assert all(layout.places[source].x < layout.places[target].x for source, target in edges)


def drawn(data: st.DataObject) -> list[AccessRecord]:
    """Some accesses in a few strands, with times that may contradict their order."""
    count = data.draw(st.integers(2, ORDER_MAX + 10))
    events = []
    for number in range(count):
        start = data.draw(st.integers(0, 10_000_000))
        strand = f"s{data.draw(st.integers(0, 3))}"
        op = data.draw(st.sampled_from(["read", "write", "model", "send"]))
        events.append(
            access(f"{number}", strand, number + 1, start, start + data.draw(st.integers(0, 5_000_000)), op=op)
        )
    return events
