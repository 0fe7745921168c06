"""Entry point `opentelemetry_pre_instrument`: comes in with `opentelemetry-instrument`, before its own hooks.

So noclobber's wrapper is the innermost, and the other instrumentation's tree of spans stays as it was. That group of
entry points has no guard of its own: one exception would abort everything, hence nothing here raises. It acts only
where the user asked for noclobber (`NOCLOBBER=1`, or any other of its variables is set), since being installed is not
being wanted.
"""

import os

__all__ = ["pre_instrument"]


def pre_instrument() -> None:
    """Activate where the environment asks for it."""
    if not any(name.startswith("NOCLOBBER") for name in os.environ):
        return
    from noclobber.bootstrap.activate import activate

    activate()
