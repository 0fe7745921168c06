"""Advice for SQL databases.

Source: PostgreSQL documentation, chapters 13.2 and 13.3; SQLAlchemy's version_id_col.
"""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE"]

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "Put the version that was read into the UPDATE's condition: 0 rows is a conflict, read again and retry. Where "
        "read and write stand in one transaction, SELECT .. FOR UPDATE; for sums let the database add.",
        "UPDATE accounts SET balance = :new, version = version + 1\n WHERE id = :id AND version = :read_version;  "
        "-- 0 rows: somebody was faster\n\n-- SQLAlchemy\n__mapper_args__ = {'version_id_col': version}\n\n"
        "-- or, for sums\nUPDATE accounts SET balance = balance + :amount WHERE id = :id;",
    ),
    Kind.STALE_WRITE: (
        "Read what the decision rests on in the same transaction, FOR SHARE, or run it SERIALIZABLE and retry.",
        "SELECT .. FROM basis WHERE id = :id FOR SHARE;",
    ),
    Kind.DIRTY_READ: (
        "Read what is committed: drop READ UNCOMMITTED (in SQLite: PRAGMA read_uncommitted and the shared cache).",
        "engine = create_engine(url, isolation_level='READ COMMITTED')",
    ),
    Kind.DOUBLE_CLAIM: (
        "Select and claim in one statement that skips rows which others hold; stop if no row comes back.",
        "UPDATE jobs SET status = 'running', worker = :me\n WHERE id = (SELECT id FROM jobs WHERE status = 'new'\n"
        "             ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)\nRETURNING id;",
    ),
    Kind.FORK: (
        "Make the parent unique, so that the database refuses a second child.",
        "CREATE UNIQUE INDEX one_child ON .. (parent);",
    ),
    Kind.BLIND_OVERWRITE: (
        "Say in the UPDATE's condition what it may replace; INSERT .. ON CONFLICT DO NOTHING for what must be new.",
        "INSERT INTO .. VALUES (..) ON CONFLICT DO NOTHING;  -- 0 rows: somebody was first",
    ),
    Kind.CHECK_THEN_ACT: (
        "Let the database check when it acts: a unique constraint over what must be once, or the condition in the "
        "statement itself; for an effect outside lock the row from the check to the act.",
        "INSERT INTO .. (content_hash, ..) VALUES (..) ON CONFLICT (content_hash) DO NOTHING;  -- 0 rows: it is there",
    ),
    Kind.INTERMEDIATE_READ: (
        "Read what is committed: drop READ UNCOMMITTED, or write the row once, with its result.",
        "engine = create_engine(url, isolation_level='READ COMMITTED')",
    ),
    Kind.NON_REPEATABLE_READ: (
        "Run the transaction REPEATABLE READ and retry it where the database refuses; or lock what is read at first.",
        "BEGIN ISOLATION LEVEL REPEATABLE READ;\n\n-- or\nSELECT .. WHERE id = :id FOR SHARE;",
    ),
    Kind.PHANTOM_READ: (
        "Run the transaction SERIALIZABLE and retry it where the database refuses; or let a constraint hold what must "
        "be true of the set.",
        "BEGIN ISOLATION LEVEL SERIALIZABLE;  -- retry on SQLSTATE 40001",
    ),
    Kind.READ_SKEW: (
        "Read what belongs together in one transaction that is REPEATABLE READ, or in one statement.",
        "BEGIN ISOLATION LEVEL REPEATABLE READ;",
    ),
    Kind.WRITE_SKEW: (
        "Run both transactions SERIALIZABLE and retry where the database refuses; or lock the rows that the decision "
        "rests on, also those that are only read.",
        "BEGIN ISOLATION LEVEL SERIALIZABLE;  -- retry on SQLSTATE 40001\n\n-- or\nSELECT .. FOR UPDATE;",
    ),
    Kind.SERIALIZATION_CYCLE: (
        "Run these transactions SERIALIZABLE and retry where the database refuses.",
        "BEGIN ISOLATION LEVEL SERIALIZABLE;  -- retry on SQLSTATE 40001",
    ),
}
