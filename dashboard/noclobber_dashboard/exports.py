"""Rows as a file that other tools open: CSV, in which no cell is a formula, and Parquet, with types.

A row is a JSON object of the API; what is a list or an object in it is one text of JSON in a cell.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from noclobber_dashboard.wording import csv_cell

__all__ = ["CONTENT_TYPES", "exported"]

CONTENT_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_BOM: Final = "\ufeff"
"""Without it, some spreadsheets read UTF-8 as something else."""


def exported(rows: Sequence[Mapping[str, Any]], form: str) -> bytes:
    """The rows as `csv` or `parquet`; columns are all names that occur, in the order in which they first do."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _csv(rows, names) if form == "csv" else _parquet(rows, names)


def _csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    out = io.StringIO(_BOM)
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    plain = _plain(value)
    return csv_cell(plain) if isinstance(plain, str) else plain


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else value


def _parquet(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [_plain(row.get(name)) for row in rows] for name in names}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()
