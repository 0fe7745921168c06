"""Placeholders of every driver, and statements that steer a transaction."""

import pytest

from noclobber.stores.sql_text import Control, ControlVerb, control, copied, number_placeholders


@pytest.mark.parametrize(
    ("style", "text", "numbered", "keys"),
    [
        ("qmark", "a = ? AND b = ?", "a = :nc_0 AND b = :nc_1", (0, 1)),
        ("qmark", "a = '?' AND b = ? -- ?", "a = '?' AND b = :nc_0 -- ?", (0,)),
        ("pyformat", "a = %(a)s::INTEGER OR b = %(b c)s", "a = :nc_0::INTEGER OR b = :nc_1", ("a", "b c")),
        ("pyformat", "a LIKE '%%x' AND 1 %% 2 = %(b)s", "a LIKE '%%x' AND 1 % 2 = :nc_0", ("b",)),
        ("format", "a = %s AND b = %s", "a = :nc_0 AND b = :nc_1", (0, 1)),
        ("numeric_dollar", "a = $2 AND b = $1 AND c = $2", "a = :nc_0 AND b = :nc_1 AND c = :nc_2", (1, 0, 1)),
        ("numeric_dollar", "a = $$ $1 $$ AND b = $1", "a = $$ $1 $$ AND b = :nc_0", (0,)),
        ("named", "a = :a AND b::text = ':b'", "a = :nc_0 AND b::text = ':b'", ("a",)),
        ("qmark", '"a?" = ? /* ? */', '"a?" = :nc_0 /* ? */', (0,)),
        ("qmark", r"a = E'\'?' AND b = ?", r"a = E'\'?' AND b = :nc_0", (0,)),
    ],
)
def test_placeholders(style: str, text: str, numbered: str, keys: tuple[str | int, ...]) -> None:
    """Each placeholder is numbered in the order of the text; strings, names and comments are left alone."""
    assert number_placeholders(text, style) == (numbered, keys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN IMMEDIATE", Control(ControlVerb.BEGIN)),
        ("begin isolation level repeatable read", Control(ControlVerb.ISOLATION, "repeatable_read")),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Control(ControlVerb.ISOLATION, "serializable")),
        ("COMMIT", Control(ControlVerb.COMMIT)),
        ("ROLLBACK", Control(ControlVerb.ROLLBACK)),
        ("SAVEPOINT sa_savepoint_1", Control(ControlVerb.SAVEPOINT, "sa_savepoint_1")),
        ('ROLLBACK TO SAVEPOINT "s"', Control(ControlVerb.ROLLBACK_TO, "s")),
        ("RELEASE s", Control(ControlVerb.RELEASE, "s")),
        ("PRAGMA read_uncommitted = 1", Control(ControlVerb.READ_UNCOMMITTED)),
        ("PRAGMA read_uncommitted = 0", Control(ControlVerb.COMMITTED_ONLY)),
        ("SELECT 1", None),
        ("UPDATE a SET b = 1", None),
    ],
)
def test_control(text: str, expected: Control | None) -> None:
    """What steers a transaction is told by its first words."""
    assert control(text) == expected


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("COPY (SELECT a FROM t) TO STDOUT", "SELECT a FROM t"),
        ("copy\n(SELECT f(a) FROM t) to stdout WITH (FORMAT binary)", "SELECT f(a) FROM t"),
        ("COPY t TO STDOUT", "SELECT * FROM t"),
        ('COPY "s"."T" ("a", b) TO STDOUT (FORMAT csv)', 'SELECT "a", b FROM "s"."T"'),
        ("COPY t FROM STDIN", None),
        ("COPY t (a) TO '/a/file'", None),
        ("SELECT 1", None),
    ],
)
def test_copied(text: str, query: str | None) -> None:
    """What COPY gives is what a query would."""
    assert copied(text) == query
