"""One source of tables, rendered for one engine or for a cluster.

The migrations are written as for one engine. On a cluster a table that keeps rows becomes two: `name_local`, which is
replicated and holds the rows of one shard, and `name`, which is Distributed over them, so that every statement of
noclobber is the same in both worlds. All accesses to one resource lie on one shard (`accesses` is sharded by the hash
of the resource); spans of others, which have no resource, are spread by their trace. A materialized view over a table
that is sharded runs on each shard, from local rows to local rows.

What is one statement for one engine may be several for a cluster, each with ON CLUSTER. Servers need the macros
`{shard}` and `{replica}`, as ClickHouse's own documentation has them.

Source: storage.md 8 and 10 of the design; ClickHouse, "Distributed" and "ReplicatedMergeTree".
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["LOCAL", "SHARDED_BY", "rendered", "statements"]

LOCAL: Final = "_local"
"""What the name of a shard's own table ends in."""
SHARDED_BY: Final[Mapping[str, str]] = {
    "accesses": "if(resource = '', cityHash64(trace_id), resource_hash)",
    "minute_stats": "cityHash64(resource)",
    "findings": "cityHash64(id)",
    "transitions": "cityHash64(issue)",
    "deliveries": "cityHash64(transition)",
    "cursors": "cityHash64(analyzer)",
    "ingest": "cityHash64(collector)",
    "defended": "cityHash64(trace_id, span_id)",
    "leases": "cityHash64(analyzer)",
    "conflicts": "cityHash64(resource)",
    "forgotten": "cityHash64(collector)",
    "schema_migrations": "number",
}
"""Table -> what decides on which shard a row lies. What is read back by its writer lies whole on one shard."""
PATH: Final = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
OVER_THEM: Final = (
    "CREATE TABLE IF NOT EXISTS {name}{on_cluster} AS {name}_local\n"
    "ENGINE = Distributed({cluster}, currentDatabase(), {name}_local, {key})"
)
_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\{on_cluster\}")
_ALTER: Final = re.compile(r"ALTER TABLE (\w+)\{on_cluster\}")
_VIEW: Final = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS \w+\{on_cluster\} TO (\w+) AS")
_ENGINE: Final = re.compile(r"^ENGINE = (\w*MergeTree)\b(?:\(\))?", re.MULTILINE)
_COLUMNS_CHANGE: Final = re.compile(r"\b(?:ADD|DROP|MODIFY|RENAME) COLUMN\b")


def statements(text: str) -> Iterator[str]:
    """The statements of a file; each ends with a semicolon at the end of a line, two dashes begin a comment."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("--") or not line.strip():
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines).rstrip().removesuffix(";")
            lines = []
    if lines:
        yield "\n".join(lines)


def rendered(statement: str, values: Mapping[str, str], cluster: str = "") -> list[str]:
    """What is to be run for one statement of a migration.

    Args:
        statement: with `{on_cluster}` behind the name of what it makes or changes.
        values: what stands for other names in braces.
        cluster: name of the cluster; "": one engine.
    """
    made = _on_cluster(statement) if cluster else [statement]
    filling = {**values, "on_cluster": f" ON CLUSTER `{cluster}`" if cluster else "", "cluster": f"`{cluster}`"}
    return [re.sub(r"\{(\w+)\}", lambda found: filling.get(found[1], found[0]), each) for each in made]


def _on_cluster(statement: str) -> list[str]:
    table, engine = _TABLE.match(statement), _ENGINE.search(statement)
    if table and engine:
        local = table[0].replace(table[1], table[1] + LOCAL)
        kept = _ENGINE.sub(f"ENGINE = Replicated{engine[1]}({PATH})", statement.replace(table[0], local, 1), count=1)
        over = OVER_THEM.replace("{name}", table[1]).replace("{key}", SHARDED_BY[table[1]])
        return [kept, over]
    altered = _ALTER.match(statement)
    if altered and altered[1] in SHARDED_BY:
        local = statement.replace(altered[0], altered[0].replace(altered[1], altered[1] + LOCAL), 1)
        return [local, statement] if _COLUMNS_CHANGE.search(statement) else [local]
    view = _VIEW.match(statement)
    source = re.search(r"\bFROM (\w+)", statement)
    if view and source and source[1] in SHARDED_BY:
        head = view[0].replace(f"TO {view[1]}", f"TO {view[1]}{LOCAL}")
        made = statement.replace(view[0], head, 1)
        return [re.sub(rf"\bFROM {source[1]}\b", f"FROM {source[1]}{LOCAL}", made)]
    return [statement]
