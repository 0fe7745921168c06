"""One call of an AWS service, as its module needs it: what was asked, what is kept of it, how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from noclobber.access import Access
from noclobber.contract import Outcome

__all__ = ["Asked", "Noted"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it is made: operation, the caller's own parameters (to be copied where kept), the client's region."""

    operation: str
    params: dict[str, Any]
    region: str


@dataclass(slots=True)
class Noted:
    """What is kept of a call until the drain.

    Attributes:
        params: those that are needed, never the caller's own containers.
        count: how many accesses it is.
        describe: makes them, in the drain. keep: what is needed of a reply, taken before the caller gets it.
        reply: None where the call raised. failed: how it ended then. refusal: what the service answered then.
        exact: whether it also asked for what it replaced.
        late: whether it is one access for each of the reply's `messages`, so that `count` is known only then; where
            there are none, and where it raised, it is no access. started_ns: when it was called.
    """

    operation: str
    params: dict[str, Any]
    count: int
    describe: Callable[["Noted"], list[Access]]
    keep: Callable[[Any], dict[str, Any]]
    reply: dict[str, Any] | None = None
    failed: Outcome | None = None
    refusal: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    late: bool = False
    started_ns: int = 0
