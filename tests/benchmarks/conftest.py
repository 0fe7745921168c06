"""Helpers of the collector's tests are used here too, and what benchmarks share lies beside them."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "collector"), str(Path(__file__).parent)]
