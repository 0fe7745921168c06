"""How much of a processor recording may take: above that it switches itself off, and says so.

What is known of its cost is what its own threads took, by the clocks of these threads; what the hooks took in the
program's threads is reckoned by the number of accesses, since to measure it at each call would cost more than the call.
The share is judged over half a minute, so a burst passes.

Off is for the rest of the process: locks taken and transactions begun while nobody looked would be missing in what came
after a return, and so accuse. Whatever passes unseen is counted as dropped in the marks, which go on.
"""

import time
from typing import Final

__all__ = ["OVERSPENT", "Budget"]

OVERSPENT: Final = (
    "noclobber took %.0f %% of a processor, more than its budget of %.0f %% (NOCLOBBER_CPU_BUDGET), and has switched "
    "itself off in this process; what passes is counted as dropped"
)
WINDOW_NS: Final = 30_000_000_000
HOOK_NS: Final = 10_000
"""What one access is reckoned to take of the program's own thread: a Redis GET takes 1.3 us, an SQL SELECT 20."""


class Budget:
    """Watches the cost of one process's recording; asked in its drain's thread.

    Attributes:
        share: of one processor that it may take; 0: as much as it likes. taken: the share that was too much, else None.
    """

    def __init__(self, share: float, window_ns: int = WINDOW_NS) -> None:
        self.share, self._window_ns = share, window_ns
        self.taken: float | None = None
        self._since: tuple[int, int] | None = None

    def is_spent(self, now_ns: int, accesses: int, other_threads_ns: int) -> bool:
        """Whether the last window's cost was too high.

        Args:
            now_ns: any steady clock.
            accesses: recorded so far.
            other_threads_ns: CPU that threads of ours other than the running one took so far.
        """
        if not self.share:
            return False
        cost_ns = time.thread_time_ns() + other_threads_ns + accesses * HOOK_NS
        if self._since is None:
            self._since = now_ns, cost_ns
        began_ns, cost_before_ns = self._since
        if now_ns - began_ns < self._window_ns:
            return False
        self._since = now_ns, cost_ns
        taken = (cost_ns - cost_before_ns) / (now_ns - began_ns)
        if taken <= self.share:
            return False
        self.taken = taken
        return True
