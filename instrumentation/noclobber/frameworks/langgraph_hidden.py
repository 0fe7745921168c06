"""What LangGraph's savers and stores do in their databases besides what is recorded of them.

Tables are set up, pending writes kept under a task's own id, histories listed, expired items swept.

Source: langgraph/checkpoint/sqlite, langgraph/store/sqlite.
"""

import functools
from typing import Final

from noclobber.frameworks import hidden
from noclobber.frameworks.hidden import hiding
from noclobber.frameworks.langgraph_seams import SEAMS

__all__ = ["OF_SAVERS", "OF_STORES", "hide", "hiding"]

OF_SAVERS: Final = (
    "setup", "put_writes", "aput_writes", "list", "alist", "get_delta_channel_history", "aget_delta_channel_history",
)  # fmt: skip
OF_STORES: Final = ("setup", "sweep_ttl")

hide = functools.partial(hidden.hide, SEAMS)
