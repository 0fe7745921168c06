"""The SQL: bound parameters only, and bounded."""

import ast
from pathlib import Path

import noclobber_dashboard
from noclobber_dashboard import statements

FOLDER = Path(noclobber_dashboard.__file__).parent
SQL = ("SELECT", "INSERT", "DELETE", "ALTER", "DROP")


def test_no_statement_is_put_together_from_values() -> None:
    """No f-string, format or percent in the whole package holds a statement."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                words = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
                assert not any(f"{word} " in words for word in SQL), f"{path.name}: {words}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                assert not isinstance(node.func.value, ast.Constant), path.name


def test_every_statement_is_bounded() -> None:
    """Each ends in time, and gives a limited number of rows or sums."""
    for name in statements.__all__:
        text: str = getattr(statements, name)
        if name == "HAS_DEFENDED":
            continue
        assert "max_execution_time" in text or name == "CURSORS", name
        summed = name in ("COUNT", "TOTALS", "RATES", "BODIES", "ISSUE_LOGS")
        assert "LIMIT" in text or summed, name
