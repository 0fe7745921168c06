"""A program run again, under chaos or steered, and judged: what `noclobber chaos` and `noclobber confirm` are made of.

`program` runs a command once and judges what it did; `steered` brings a finding about; `regression` writes the
test that holds it down.
"""

from noclobber_analyzer.rerun.regression import assert_mended

__all__ = ["assert_mended"]
