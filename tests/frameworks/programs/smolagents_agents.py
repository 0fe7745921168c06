"""Agents of smolagents that share an account; nothing here knows of noclobber.

Third argument: `threads` (two agents), `parallel` (one agent, two calls at once), `code` (agents that write code),
`managed` (one agent that asks another).
"""

import sys
import threading

from account import SECRET, add
from smolagents import ChatMessage, CodeAgent, LogLevel, Model, ToolCallingAgent, tool
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

WAY = sys.argv[3]


@tool
def deposit(amount: int, note: str) -> str:
    """Add to the balance.

    Args:
        amount: how much.
        note: what for.
    """
    return add(amount)


class Scripted(Model):
    """A model that says what it is told to."""

    def __init__(self, *turns) -> None:
        super().__init__(model_id="scripted")
        self.turns = list(turns)

    def generate(self, messages, **kwargs) -> ChatMessage:
        turn = self.turns.pop(0)
        if isinstance(turn, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=turn)
        calls = [
            ChatMessageToolCall(ChatMessageToolCallFunction(arguments, name), f"{name}-{n}", "function")
            for n, (name, arguments) in enumerate(turn)
        ]
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=calls)


def ask(amount: int):
    return ("deposit", {"amount": amount, "note": SECRET})


END = [("final_answer", {"answer": "done"})]


def agent(name: str, *amounts: int):
    about = {"name": name, "description": "adds", "verbosity_level": LogLevel.OFF}
    if WAY == "code":
        turn = f"<code>\ndeposit({amounts[0]}, '{SECRET}')\nfinal_answer('done')\n</code>"
        return CodeAgent(tools=[deposit], model=Scripted(turn), **about)
    return ToolCallingAgent(tools=[deposit], model=Scripted([ask(each) for each in amounts], END), **about)


def managed() -> list[str]:
    turns = [("clerk", {"task": "add 50", "additional_args": {}})], END
    about = {"name": "boss", "description": "asks", "verbosity_level": LogLevel.OFF}
    boss = ToolCallingAgent(tools=[], managed_agents=[agent("clerk", 50)], model=Scripted(*turns), **about)
    return [str(boss.run("go on"))]


def two() -> list[str]:
    done: list[str] = []
    agents = [agent("payer", 50), agent("charger", -20)]
    threads = [threading.Thread(target=lambda each=each: done.append(str(each.run("go on")))) for each in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return done


if WAY == "managed":
    print(managed())
elif WAY == "parallel":
    print([str(agent("both", 50, -20).run("go on"))])
else:
    print(two())
