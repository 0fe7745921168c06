"""An agent that touches shared state at a steady rate for some time, and tells what its calls cost.

    python caller.py CALLS RATE

Prints how many accesses it made, and of each call of them the nanoseconds of its thread's CPU, on lines of JSON.
"""

import json
import sys
import time

import noclobber


def main() -> None:
    """Call, in time, and tell."""
    calls, rate = int(sys.argv[1]), float(sys.argv[2])
    noclobber.instrument()
    begun, costs = time.monotonic(), []
    with noclobber.agent("caller"):
        for number in range(calls):
            ahead_s = begun + number / rate - time.monotonic()
            if ahead_s > 0:
                time.sleep(ahead_s)
            before = time.thread_time_ns()
            with noclobber.access(f"redis://h/0/{number % 50}", "write", system="redis"):
                pass
            costs.append((time.time(), time.thread_time_ns() - before))
    print(json.dumps({"made": calls, "costs": costs}), flush=True)


if __name__ == "__main__":
    main()
