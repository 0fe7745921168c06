"""What is installed and not wanted looks absent to Python and to compiled modules alike."""

import subprocess
import sys

PROGRAM = """
import sys
from noclobber_collector.unneeded import do_without
do_without("pandas")
import pyarrow
print(pyarrow.array([1, 2]).to_pylist())
import clickhouse_connect.driver
try:
    import pandas
except ModuleNotFoundError as absent:
    print(absent.name)
print("pandas" in sys.modules)
"""


def test_pyarrow_makes_its_first_array_without_pandas() -> None:
    """Which it looks for at the first array it makes; the collector's first load failed by that, and waited."""
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["[1, 2]", "pandas", "False"]
