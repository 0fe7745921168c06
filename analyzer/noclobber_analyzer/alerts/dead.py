"""Messages that were given up: those to be listed, and to be sent again by whom their receiver matters to."""

from collections import defaultdict

from noclobber_analyzer.tables import Delivery, Store, read_deliveries

__all__ = ["dead_letters"]


def dead_letters(store: Store) -> list[Delivery]:
    """The last attempt of each message that was given up and has not arrived, the latest first."""
    rows: dict[str, list[Delivery]] = defaultdict(list)
    for row in read_deliveries(store):
        if row.phase == "done":
            rows[row.id].append(row)
    last = [max(of, key=lambda row: row.attempt) for of in rows.values() if not any(row.ok for row in of)]
    return sorted((row for row in last if row.final), key=lambda row: (-row.at_ns, row.id))
