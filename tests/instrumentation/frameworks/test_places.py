"""How a framework's objects and files are named."""

import copy
from pathlib import Path

import pytest

from noclobber.frameworks.places import of_file, of_object


class Store:
    def __init__(self) -> None:
        self.held: dict[str, int] = {}


def test_an_object_keeps_its_name_and_a_copy_has_another() -> None:
    """Nothing is written into the object: a copy must not share its name."""
    store = Store()
    name = of_object(store)
    assert of_object(store) == name
    assert vars(store) == {"held": {}}
    assert of_object(copy.deepcopy(store)) != name


def test_names_are_not_given_again() -> None:
    """Also where a new object lies where a collected one lay."""
    names = {of_object(Store()) for _ in range(100)}
    assert len(names) == 100


def test_what_cannot_be_watched_has_no_name() -> None:
    """Such calls are not recorded."""
    with pytest.raises(TypeError):
        of_object({"a": "dict"})


def test_a_file_has_one_name(tmp_path: Path) -> None:
    """However its path is written."""
    assert of_file(str(tmp_path / "a.db")) == of_file(f"file:{tmp_path}/x/../a.db?mode=rw")
    assert of_file(str(tmp_path / "a.db")).startswith("a.db~")
