"""A world of agents for the simulation: who reads and writes what when, and which writes were lost, known beforehand.

Agents take turns of their own: pick a resource, read it, think, write what they computed. Some resources are picked far
more often than others (Zipf). Each state of a resource has a number, each write says which one it replaced, so a write
that replaced another state than it had read is a lost update by definition, and the truth needs no analysis.
"""

import heapq
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from intake import Agent, Request

__all__ = ["World", "played", "weights"]


@dataclass(frozen=True, slots=True)
class World:
    """What was sent, and what is true of it.

    Attributes:
        sent: accesses in the order of their calls, with their resource ("" of a mark).
        lost: resources, one for each write that was lost.
    """

    sent: Sequence[tuple[str, Request]]
    lost: Sequence[str]


def weights(resources: int, skew: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """How often each is picked, the most popular first; they sum up to 1. A skew of 0 is even."""
    found = 1.0 / np.arange(1, resources + 1) ** skew
    return np.asarray(found / found.sum())


def played(seed: int, *, agents: int = 24, resources: int = 120, turns: int = 240, skew: float = 1.1) -> World:
    """A world as it went."""
    rng = random.Random(seed)
    popular = weights(resources, skew).tolist()
    names = [f"redis://cache:6379/0/acct:{number}" for number in range(resources)]
    workers = [Agent(f"a{number}") for number in range(agents)]
    states = dict.fromkeys(names, 1)
    sent: list[tuple[str, Request]] = []
    lost: list[str] = []
    free = [(rng.random(), number) for number in range(agents)]  # when an agent takes its next turn
    writes: list[tuple[float, int, str, int, int]] = []
    order = itertools.count()
    while free or writes:
        if free and (not writes or free[0] < writes[0][:2]):
            at, number = heapq.heappop(free)
            turn = next(order)
            if turn >= turns:
                continue
            (name,) = rng.choices(names, popular)
            sent.append((name, workers[number].read(name, str(states[name]), at, unit=f"turn-{turn}")))
            heapq.heappush(writes, (at + 0.01 + rng.random(), number, name, states[name], turn))
        else:
            at, number, name, base, turn = heapq.heappop(writes)
            now = states[name]
            states[name] = now + 1
            if now != base:
                lost.append(name)
            write = workers[number].write(
                name, str(base), str(now + 1), at, version__overwritten=str(now), unit=f"turn-{turn}"
            )
            sent.append((name, write))
            heapq.heappush(free, (at + 0.01 + rng.random(), number))
    end = 10_000.0
    return World([*sent, *(("", worker.mark(end)) for worker in workers)], lost)
