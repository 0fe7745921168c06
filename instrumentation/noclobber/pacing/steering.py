"""Steering: one strand is held at an access until another has passed its own, so that the losing order comes about.

A script names, from a finding, after which access a strand is held and what another must have done before it goes on;
what is done in a transaction is done when that commits. Processes of one program agree through files in a folder: who
creates `held.N` is the one that waits, whoever else does the awaited access creates `passed.N`. Each hold has an end,
since a program that is right may never let the other pass: under a lock the holder waits out its time, and goes on.

Source: the trigger scripts of DCatch (Liu et al., ASPLOS 2017).
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Op
from noclobber.pacing.holds import Hold
from noclobber.pacing.likeness import like, site_of
from noclobber.pacing.pacer import Pacer

__all__ = ["Point", "Script", "Steering", "script_of", "script_text"]

ROUNDS_MAX: Final = 8
"""Holds in one run of the program."""
TRANSACTIONS_MAX: Final = 1000
"""Transactions whose commit lets somebody go; in others the access itself does."""
_ENDS: Final = frozenset({Op.COMMIT, Op.ABORT})
VAIN: Final = "in vain"
VAIN_MAX: Final = 2
"""Holds whose time ran out, in one run: whoever is right waits no more often."""


@dataclass(frozen=True, slots=True)
class Point:
    """An access, as it is known again: what was done, to what (`likeness.like`), where in the code ("": anywhere)."""

    op: str
    resource: str
    site: str = ""

    def fits(self, access: Access, resource: str, site: str) -> bool:
        """Whether an access is this one: a row that a finding says was read may have come by a scan of its table."""
        if self.site not in ("", site):
            return False
        if access.op is Op.SCAN and self.op == Op.READ and resource.endswith("/"):
            return self.resource.startswith(like(resource))
        return str(access.op) == self.op and like(resource) == self.resource


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be brought about.

    Attributes:
        hold: after which access a strand is held, any of them. until: what another strand must do, any of them.
        folder: where the processes of one run agree. wait_s: how long a hold lasts at most.
        same: whether both must be accesses to the very same resource.
    """

    hold: tuple[Point, ...]
    until: tuple[Point, ...]
    folder: str
    wait_s: float = 3.0
    same: bool = True


def script_of(path: Path) -> Script:
    """The script in a file.

    Raises:
        ValueError: it is none. OSError: it can't be read.
    """
    told: dict[str, Any] = json.loads(path.read_text())
    try:
        hold, until = (tuple(Point(**each) for each in told.pop(name)) for name in ("hold", "until"))
        return Script(hold, until, **told)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no script: {error}") from error


def script_text(script: Script) -> str:
    """The script as `script_of` reads it."""
    told: Mapping[str, Any] = asdict(script)
    return json.dumps(told, indent=1)


class Steering(Pacer):
    """Follows a script."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script
        self._folder = Path(script.folder)
        self._round = 1
        self._uncommitted: dict[str, str] = {}  # by transaction: the resource of what it has done that is waited for
        self._vain = 0

    def hold_after(self, active: "recorder.Recorder", call: Call, accesses: Sequence[Access]) -> Hold | None:
        """Hold the first strand that comes to the place; let it go once another has passed."""
        site = site_of(call.site[0] if call.site is not None else None)
        with self._lock:
            for access in accesses:
                resource = active.declarations.named(access.resource)
                self._pass(access, resource, site, call.strand.id)
                if any(point.fits(access, resource, site) for point in self._script.hold):
                    held = self._hold(resource, call.strand.id)
                    if held is not None:
                        return held
        return None

    def _hold(self, resource: str, strand: str) -> Hold | None:
        """The hold, if this strand is the one that waits in this round."""
        while self._round <= ROUNDS_MAX and (over := self._path("over", self._round)).exists():
            self._vain += over.read_text() == VAIN
            self._round += 1
        number = self._round
        if (
            number > ROUNDS_MAX
            or self._vain >= VAIN_MAX
            or not _created(self._path("held", number), f"{strand}\n{resource}")
        ):
            return None
        passed = self._path("passed", number)
        return Hold(
            self._script.wait_s,
            passed.exists,
            lambda released: (_created(self._path("over", number), "passed" if released else VAIN), None)[1],
        )

    def _pass(self, access: Access, resource: str, site: str, strand: str) -> None:
        """Let the held strand go, if this access of another is what it waits for, or commits that."""
        transaction = access.txn
        if any(point.fits(access, resource, site) for point in self._script.until):
            if transaction is not None and len(self._uncommitted) < TRANSACTIONS_MAX:
                self._uncommitted[transaction] = resource
                return
        elif transaction in self._uncommitted and access.op in _ENDS and not access.savepoint:
            assert transaction is not None
            resource = self._uncommitted.pop(transaction)
            if access.op is Op.ABORT:
                return
        else:
            return
        for number in range(self._round, ROUNDS_MAX + 1):
            with contextlib.suppress(OSError):
                holder, _, at = self._path("held", number).read_text().partition("\n")
                if holder != strand and (at == resource or not self._script.same):
                    _created(self._path("passed", number), strand)
                continue
            return

    def _path(self, what: str, number: int) -> Path:
        return self._folder / f"{what}.{number}"


def _created(path: Path, text: str) -> bool:
    """Whether this process made the file, whole, before anybody else."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{id(text)}")
    try:
        scratch.write_text(text)
        os.link(scratch, path)
    except OSError:
        return False
    finally:
        scratch.unlink(missing_ok=True)
    return True
