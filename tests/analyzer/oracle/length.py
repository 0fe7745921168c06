"""How many examples the long forms of the oracles try."""

import os
from typing import Final

__all__ = ["AT_LENGTH"]

AT_LENGTH: Final = int(os.environ.get("NOCLOBBER_ORACLE_EXAMPLES", "100000"))
"""Of each form: some 15 minutes of one core. An hour that has less to give says so, and takes another seed."""
