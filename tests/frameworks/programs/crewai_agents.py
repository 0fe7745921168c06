"""Agents of CrewAI that share an account or a flow's state; nothing here knows of noclobber.

Third argument: `flow` (an account), `async` (the same with async methods), `state` (a flow's own state), `crew`.
"""

import asyncio
import logging
import sys
import threading

from account import HOW, SECRET, TIMEOUT_S, aadd, add
from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, FlowState, and_, listen, start
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool

WAY = sys.argv[3]
logging.disable()  # the framework warns that it can only guess the tokens of a scripted model
both_have_read = threading.Barrier(2)
lock = threading.Lock()


class Books(FlowState):
    balance: int = 10000100
    note: str = SECRET


class Banking(Flow[Books]):
    """Two methods listen to one start, and run beside each other."""

    suppress_flow_events = True

    @start()
    def begin(self) -> str:
        return "go on"

    @listen(begin)
    def deposit(self) -> None:
        self.change(50)

    @listen(begin)
    def withdraw(self) -> None:
        self.change(-20)

    @listen(and_(deposit, withdraw))
    def close(self) -> str:
        return "done"

    def change(self, amount: int) -> None:
        if WAY == "flow":
            add(amount)
        elif HOW == "plain":
            balance = self.state.balance
            both_have_read.wait(TIMEOUT_S)
            self.state.balance = balance + amount
        elif amount > 0:
            self.state.balance = self.state.balance + amount
        else:
            self.state.note = "withdrawn"


class AsyncBanking(Flow[Books]):
    """The same on the event loop."""

    suppress_flow_events = True

    @start()
    async def begin(self) -> str:
        return "go on"

    @listen(begin)
    async def deposit(self) -> None:
        await aadd(50)

    @listen(begin)
    async def withdraw(self) -> None:
        await aadd(-20)

    @listen(and_(deposit, withdraw))
    async def close(self) -> str:
        return "done"


@tool("deposit")
def deposit(amount: int) -> str:
    """Add to the balance."""
    return add(amount)


class Scripted(BaseLLM):
    """A model that asks for one deposit, and then has done."""

    amount: int = 0

    def call(self, messages, *args, **kwargs) -> str:
        if any("Observation:" in str(each["content"]) for each in messages[2:]):
            return "Thought: I know.\nFinal Answer: done"
        return f'Thought: I add.\nAction: deposit\nAction Input: {{"amount": {self.amount}}}'


def crew(role: str, amount: int) -> Crew:
    model = Scripted(model="scripted", amount=amount)
    agent = Agent(role=role, goal="add", backstory=SECRET, llm=model, tools=[deposit], verbose=False)
    task = Task(name=f"task of {role}", description="add", expected_output="done", agent=agent)
    return Crew(agents=[agent], tasks=[task], verbose=False)


def two_crews() -> str:
    done: list[str] = []
    crews = [crew("payer", 50), crew("charger", -20)]
    threads = [threading.Thread(target=lambda each=each: done.append(each.kickoff().raw)) for each in crews]
    for each in threads:
        each.start()
    for each in threads:
        each.join(TIMEOUT_S)
    return " ".join(done)


if WAY == "crew":
    print(two_crews())
elif WAY == "async":
    print(asyncio.run(AsyncBanking().kickoff_async()))
else:
    print(Banking().kickoff())
