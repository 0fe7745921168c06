"""Strategies of hypothesis: the order in which agents go on.

    @given(order=schedules())
    def test_two_agents(order):
        interleave({"planner": plan, "writer": write}, order).check()

What shrinks are the numbers that choose, and 0 is "who ran last goes on": a failing example has the fewest switches.
"""

import random

from hypothesis import strategies as st

__all__ = ["schedules"]


def schedules() -> "st.SearchStrategy[random.Random]":
    """Orders, each to be used once: as `seed` of `interleave`."""
    return st.randoms(use_true_random=False)
