"""Rows as a file that other tools open: CSV, in which no cell is a formula, Parquet, with types, and JSON Lines.

A row is a JSON object of the API: in JSON Lines as it is; elsewhere what is a list or an object in it is one text of
JSON in a cell.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from noclobber_dashboard.wording import csv_cell

__all__ = ["CONTENT_TYPES", "EXPORT_MAX", "exported"]

EXPORT_MAX: Final = 50_000
"""Most rows of one file, give or take a page."""
CONTENT_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/x-ndjson",
}
_BOM: Final = "\ufeff"
"""Without it, some spreadsheets read UTF-8 as something else."""


def exported(rows: Sequence[Mapping[str, Any]], form: str) -> bytes:
    """The rows as `csv`, `parquet` or `jsonl`; columns are all names that occur, as they first do."""
    if form == "jsonl":
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
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
