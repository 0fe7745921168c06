"""A crowd of CrewAI's flows and crews on one memory; nothing here knows of noclobber.

The shapes are those of CrewAI's guides: a flow whose listeners run beside each other on one typed state that is kept in
SQLite after each step, a crew whose agent calls a tool, memories that are kept, recalled, corrected and forgotten. Each
customer has a flow and a scope of their own. `shared` adds a flow two of whose listeners count in one field. Models
and embedder are scripted. Arguments: `apart` or `shared`; a folder.
"""

import hashlib
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, FlowState, and_, listen, start
from crewai.flow.persistence import persist
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence
from crewai.llms.base_llm import BaseLLM
from crewai.memory.unified_memory import Memory
from crewai.tools import tool

logging.disable()  # the framework warns that it can only guess the tokens of a scripted model
HOW, FOLDER = sys.argv[1], Path(sys.argv[2])
CUSTOMERS, ROUNDS, KEPT = 6, 10, 4
both_have_read = threading.Barrier(2, timeout=30)
persistence = SQLiteFlowPersistence(str(FOLDER / "flows.db"))


class Order(FlowState):
    item: str = ""
    price: int = 10_000_100
    notes: str = "nothing yet"
    packed: int = 20_000_200
    billed: int = 30_000_300


@persist(persistence)
class Ordering(Flow[Order]):
    """What packs and what bills runs beside each other, on fields of its own; both read the price."""

    suppress_flow_events = True

    @start()
    def begin(self) -> None:
        self.state.item = f"item for {self.state.id}"
        self.state.notes = "begun"

    @listen(begin)
    def pack(self) -> None:
        for _ in range(ROUNDS):
            self.state.packed = self.state.packed + self.state.price % 7

    @listen(begin)
    def bill(self) -> None:
        for _ in range(ROUNDS):
            self.state.billed = self.state.billed + self.state.price % 11

    @listen(and_(pack, bill))
    def close(self) -> str:
        self.state.notes = f"{self.state.notes}, packed {self.state.packed}, billed {self.state.billed}"
        return self.state.notes


class Counting(Flow[Order]):
    """Both listeners count in one field."""

    suppress_flow_events = True

    @start()
    def begin(self) -> None:
        self.state.notes = "begun"

    @listen(begin)
    def pack(self) -> None:
        self.count(50)

    @listen(begin)
    def bill(self) -> None:
        self.count(-20)

    def count(self, amount: int) -> None:
        price = self.state.price
        both_have_read.wait()
        self.state.price = price + amount


class Scripted(BaseLLM):
    """A model that calls the tool once, and then has done."""

    def call(self, messages, *args, **kwargs) -> str:
        if any("Observation:" in str(each["content"]) for each in messages[2:]):
            return "Thought: I know.\nFinal Answer: done"
        return 'Thought: I look.\nAction: look\nAction Input: {"what": "the order"}'


@tool("look")
def look(what: str) -> str:
    """Look at something."""
    return f"{what} is there"


def crew(customer: str) -> str:
    agent = Agent(role=f"clerk of {customer}", goal="look", backstory="a clerk", llm=Scripted(model="scripted"),
                  tools=[look], verbose=False)  # fmt: skip
    task = Task(name="look", description="look", expected_output="done", agent=agent)
    return str(Crew(agents=[agent], tasks=[task], verbose=False).kickoff().raw)


def vectors(texts: list[str]) -> list[list[float]]:
    """A vector by a text's hash: equal texts are equal, others are far apart."""
    return [[each / 127.5 - 1 for each in hashlib.sha256(text.encode()).digest()[:16]] for text in texts]


memory = Memory(llm=Scripted(model="scripted"), embedder=vectors, storage=str(FOLDER / "memory"))


def begin_memory() -> dict[str, list[str]]:
    """Some memories of each customer in a scope of their own: what is recalled elsewhere is stamped as used."""

    def keep(customer: str) -> None:
        texts = [f"{customer} ordered thing {number}" for number in range(KEPT)]
        memory.remember_many(
            texts, scope=f"/{customer}", categories=["orders"], importance=0.5, metadata={"kind": "note"}
        )

    customers = [f"customer-{number}" for number in range(CUSTOMERS)]
    with ThreadPoolExecutor(CUSTOMERS) as pool:  # CrewAI's own tracing waits five seconds for each keeping
        list(pool.map(keep, customers))
    memory.drain_writes()
    records = sorted(memory.list_records(), key=lambda each: each.content)
    return {each: [record.id for record in records if record.content.startswith(each)] for each in customers}


def serve(customer: str) -> str:
    """One customer's day, in order."""
    said = Ordering().kickoff()
    Ordering().kickoff()
    mine = kept[customer]
    memory.recall(f"what did {customer} order?", scope=f"/{customer}", depth="shallow")
    for each in mine[:2]:
        memory.update(each, content=f"{customer} ordered something else than {each}")
    memory.forget(record_ids=mine[2:3])
    crew(customer)
    return f"{said}, {len(mine)} kept"


kept = begin_memory()
with ThreadPoolExecutor(CUSTOMERS) as pool:
    for each in pool.map(serve, [f"customer-{number}" for number in range(CUSTOMERS)]):
        print(each)
    if HOW == "shared":
        print(Counting().kickoff())
