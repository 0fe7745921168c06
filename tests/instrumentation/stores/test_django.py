"""What Django's models teach the databases that its connections reach: which columns are a table's key."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django", reason="Django is not installed")

import django
from django.conf import settings
from django.db import connection, models

from noclobber.testing import capture


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Django, on a file of SQLite's."""
    name = tmp_path_factory.mktemp("django") / "library.db"
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name)}})
    django.setup()


@pytest.fixture(scope="module")
def library(setup: None) -> list[type[models.Model]]:
    """Models with keys of every kind."""

    def model(name: str, base: type[models.Model] = models.Model, fields: Any = None, **meta: Any) -> Any:
        about = type("Meta", (), {"app_label": "library", **meta})
        return type(name, (base,), {"__module__": __name__, "Meta": about, **(fields or {})})

    book = model("Book", fields={"isbn": models.CharField(primary_key=True), "title": models.CharField()})
    novel = model("Novel", base=book, fields={"hero": models.CharField()})
    copy = model("Copy", fields={
        "pk": models.CompositePrimaryKey("shelf", "place"), "shelf": models.IntegerField(),
        "place": models.IntegerField(), "state": models.CharField(),
    })  # fmt: skip
    view = model("Loan", fields={"reader": models.CharField(primary_key=True)}, managed=False)
    other = model("Stamp", fields={"code": models.CharField(primary_key=True)}, db_table='"other"."stamps"')
    proxy = model("Old", base=book, proxy=True)
    with connection.schema_editor() as editor:
        for each in (book, novel, copy):
            editor.create_model(each)
    connection.close()
    return [book, novel, copy, view, other, proxy]


@pytest.fixture
def fresh(library: list[type[models.Model]]) -> Iterator[list[type[models.Model]]]:
    """No connection, and nothing known of the database."""
    from noclobber.stores import sql_database

    sql_database._databases.clear()
    yield library
    connection.close()


def resources(captured: Any) -> list[str]:
    return [each["noclobber.resource"].partition("library.db/")[2] for each in captured.accesses
            if each["noclobber.op"] in ("write", "read") and each["noclobber.outcome"] == "ok"]  # fmt: skip


def test_rows_go_by_the_models_keys(fresh: list[Any]) -> None:
    """A column that is not called id, several columns, a key that is the parent's: all name rows."""
    book, novel, copy, *_ = fresh
    with capture() as captured:
        novel.objects.create(isbn="7", title="a title that is long", hero="somebody with a name")
        book.objects.get(pk="7")
        copy.objects.create(shelf=3, place=4, state="it is as good as new")
        copy.objects.filter(pk=(3, 4)).update(state="it is worn a little")
        assert resources(captured) == [
            "library_book/isbn=7", "library_novel/book_ptr_id=7", "library_book/isbn=7",
            "library_copy/shelf=3,place=4", "library_copy/shelf=3,place=4",
        ]  # fmt: skip
        assert [each for each in captured.accesses if "noclobber.partial" in each] == []


def test_what_is_learnt(fresh: list[Any]) -> None:
    """Keys of what Django manages, once for each database; names with schemas, views and proxies teach nothing."""
    from noclobber.stores import sqlite3

    with capture():
        connection.ensure_connection()
        database = sqlite3.database_of(connection.connection)
        assert database is not None
        catalogue = database.planner.catalogue
        assert [catalogue[name].key for name in ("library_book", "library_loan")] == [("isbn",), ("id",)]
        assert [name in catalogue for name in ("library_book", "library_loan", "stamps")] == [True, False, False]
        generation = catalogue.generation
        connection.close()
        connection.ensure_connection()
        assert catalogue.generation == generation


def test_nothing_is_learnt_afterwards(fresh: list[Any]) -> None:
    """Switched off, Django's signal has no receiver of ours left."""
    from django.db.backends.signals import connection_created

    with capture():
        assert len(connection_created.receivers) == 1
    assert connection_created.receivers == []
    connection.ensure_connection()
