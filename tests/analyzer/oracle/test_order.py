"""The order oracle: the lazy search backwards agrees with plain reachability in a graph of all accesses."""

from dataclasses import dataclass

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import Op, Outcome, VersionKind
from noclobber_analyzer import paths
from noclobber_analyzer.access import Access, Lock, Message, Process
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.order import Answer, Order

STRANDS = 4


@dataclass(frozen=True)
class Step:
    """A strand does something, perhaps with regard to another strand."""

    strand: int
    verb: str
    other: int


steps = st.lists(
    st.builds(
        Step,
        strand=st.integers(0, STRANDS - 1),
        verb=st.sampled_from(("read", "write", "spawn", "join", "send", "receive", "lock", "unlock")),
        other=st.integers(0, STRANDS - 1),
    ),
    min_size=2,
    max_size=40,
)


class Graph:
    """The accesses of a run, and the graph that shows who was made to wait for whom."""

    def __init__(self, run: list[Step]) -> None:
        self.accesses: list[Access] = []
        self.sync = nx.DiGraph()
        self.know = nx.DiGraph()
        self._last: dict[int, Access] = {}
        self._sent: list[Access] = []
        self._written: list[Access] = []
        self._holder: Access | None = None
        self._unlocked: Access | None = None
        self._token = 0
        self._spawned: dict[int, Access] = {}
        for step in run:
            self._do(step)

    def history(self) -> History:
        builder = HistoryBuilder()
        for access in self.accesses:
            builder.add(access, access.name)
        return builder.finish(ended=True)

    def _do(self, step: Step) -> None:
        if step.verb in ("join", "spawn") and step.other == step.strand:
            return
        if step.verb == "join" and step.other not in self._last and step.other not in self._spawned:
            return  # nobody waits for what was never started
        if step.verb == "receive" and not self._sent:
            return
        if step.verb == "unlock" and (self._holder is None or self._holder.strand != f"s{step.strand}"):
            return
        if step.verb == "lock" and self._holder is not None:
            return
        if step.verb == "spawn" and (step.other in self._last or step.other in self._spawned):
            return
        access = self._access(step)
        getattr(self, f"_{step.verb}")(access, step)

    def _access(self, step: Step) -> Access:
        last = self._last.get(step.strand)
        number = len(self.accesses) + 1
        access = roomy(
            trace_id=f"{step.strand + 1:032x}", span_id=f"{number:016x}", start_ns=number * 1000,
            end_ns=number * 1000 + 500, process=Process(f"p{step.strand}"), op=Op(step.verb), resource="mem://x",
            system="memory", outcome=Outcome.OK, agent=f"a{step.strand}", strand=f"s{step.strand}",
            seq=last.seq + 1 if last is not None else 1, unit=f"s{step.strand}",
        )  # fmt: skip
        self.accesses.append(access)
        self.sync.add_node(access.name)
        if last is not None:
            self._edge(last, access)
        elif step.strand in self._spawned:
            self._edge(self._spawned[step.strand], access)
        self._last[step.strand] = access
        return access

    def _edge(self, one: Access, other: Access) -> None:
        self.sync.add_edge(one.name, other.name)

    def _read(self, access: Access, step: Step) -> None:
        access.version_kind = VersionKind.CHAIN
        if self._written:
            maker = self._written[-1 - step.other % len(self._written)]
            access.read = maker.written
            self.know.add_edge(maker.name, access.name)

    def _write(self, access: Access, step: Step) -> None:
        access.version_kind, access.written = VersionKind.CHAIN, f"c{access.span_id}"
        self._written.append(access)

    def _spawn(self, access: Access, step: Step) -> None:
        access.strand_other, access.resource = f"s{step.other}", "strand://other"
        self._spawned[step.other] = access

    def _join(self, access: Access, step: Step) -> None:
        access.strand_other, access.resource = f"s{step.other}", "strand://other"
        other = self._last.get(step.other)
        access.strand_other_seq = other.seq if other is not None else 0
        waited = other or self._spawned.get(step.other)  # a strand that did nothing was started all the same
        if waited is not None:
            self._edge(waited, access)

    def _send(self, access: Access, step: Step) -> None:
        access.message, access.resource = Message(access.span_id), "mem://queue"
        self._sent.append(access)

    def _receive(self, access: Access, step: Step) -> None:
        sent = self._sent[step.other % len(self._sent)]
        access.message, access.resource = Message(sent.span_id), "mem://queue"
        if sent.strand != access.strand:
            self._edge(sent, access)

    def _lock(self, access: Access, step: Step) -> None:
        self._token += 1
        access.lock, access.resource = Lock(access.strand, str(self._token)), "mem://lock"
        if self._unlocked is not None:
            self._edge(self._unlocked, access)
        self._holder = access

    def _unlock(self, access: Access, step: Step) -> None:
        access.lock, access.resource = Lock(access.strand, str(self._token)), "mem://lock"
        self._holder, self._unlocked = None, access


@given(steps, st.sampled_from((-1, paths.RANKED_AFTER)))
@settings(max_examples=400, deadline=None)
def test_agrees_with_reachability(run: list[Step], ranked_after: int) -> None:
    """On every pair, in sync order and in know order, with ranks and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RANKED_AFTER", ranked_after)
        _assert_agrees(Graph(run))


def _assert_agrees(graph: Graph) -> None:
    found = Order(graph.history())
    known = nx.compose(graph.sync, graph.know)
    for know, edges in ((False, graph.sync), (True, known)):
        closure = nx.transitive_closure(edges, reflexive=False)
        for one in graph.accesses:
            for other in graph.accesses:
                if one is not other:
                    expected = Answer.YES if closure.has_edge(one.name, other.name) else Answer.NO
                    assert found.path(one, other, know=know) is expected


@given(steps)
@settings(max_examples=100, deadline=None)
def test_limit_says_unknown(run: list[Step]) -> None:
    """A search that may follow no edge never says that there is no path where there is one."""
    graph = Graph(run)
    closure = nx.transitive_closure(graph.sync, reflexive=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "SEARCH_LIMIT", 1)
        found = Order(graph.history())
        for one in graph.accesses:
            for other in graph.accesses:
                answer = found.path(one, other)
                assert answer is Answer.UNKNOWN or (answer is Answer.YES) == closure.has_edge(one.name, other.name)
