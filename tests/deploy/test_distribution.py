"""The source distribution and the wheel, in environments that hold nothing else; both commands of the README from them.

The wheel is built from the unpacked source distribution, so whatever that lacks is found. The README's first command
runs from the wheel alone. The second one's tests need the source tree (tests are no part of the wheel): they lie in the
source distribution, and run there against the wheel. Needs the ordinary package index.
"""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_S = 900
PACKAGES = ("noclobber", "noclobber_collector", "noclobber_analyzer", "noclobber_dashboard", "noclobber_sidecar")
SOME_TESTS = ("tests/analyzer/test_check.py", "tests/deploy/test_shipped.py", "tests/instrumentation/test_cli.py",
              "tests/test_docs.py")  # fmt: skip
"""Of each part some; `NOCLOBBER_WHOLE=1` runs them all."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


class Built(NamedTuple):
    """What was built, and where its source lies unpacked."""

    sdist: Path
    wheel: Path
    source: Path


def run(words: list[str | Path], folder: Path, timeout_s: float = INSTALL_S) -> subprocess.CompletedProcess[str]:
    """Run in a folder with nothing of this checkout in the way."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s,
        check=False,
    )  # fmt: skip


def environment(folder: Path, *wanted: str | Path) -> Path:
    """A new environment with some packages; returns its folder of programs."""
    assert run([sys.executable, "-m", "venv", folder / "venv"], folder).returncode == 0
    done = run([folder / "venv/bin/pip", "install", "--quiet", *wanted], folder)
    assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Source distribution of this tree; wheel of the source distribution."""
    folder = tmp_path_factory.mktemp("build")
    python = environment(folder, "hatchling>=1.27") / "python"
    out = folder / "dist"
    done = run([python, "-m", "hatchling", "build", "-t", "sdist", "-d", out], ROOT)
    assert done.returncode == 0, done.stderr
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    done = run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", out], source)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return Built(sdist, wheel, source)


def test_the_wheel_holds_the_five_packages_and_nothing_else(built: Built) -> None:
    """Each says that it is typed; data files (schemas, components) are in it; no test, no bytecode."""
    names = zipfile.ZipFile(built.wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert [package for package in PACKAGES if f"{package}/py.typed" not in names] == []
    tracked = run(["git", "ls-files", "instrumentation", "collector", "analyzer", "dashboard", "deploy"], ROOT).stdout
    if tracked:  # not in an unpacked source distribution
        inside = {path.partition("/")[2] for path in tracked.split() if path.split("/")[1] in PACKAGES}
        assert inside == {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    assert not [name for name in names if name.endswith(".pyc")]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_is_whole(built: Built) -> None:
    """Tests, guide, manifests; nothing of the workplace."""
    for path in ("tests/conftest.py", "docs/guide/README.md", "deploy/compose/.env.example", ".dockerignore",
                 "constraints.txt", "noxfile.py", "CHANGELOG.md"):  # fmt: skip
        assert (built.source / path).exists(), path
    assert not (built.source / ".ci").exists()
    assert built.sdist.stat().st_size < 8 << 20


def test_an_agents_install_is_small_and_says_what_is_missing(built: Built, tmp_path: Path) -> None:
    """The base install runs agents; a part that is not there is named with the command that brings it."""
    programs = environment(tmp_path, built.wheel)
    told = run([programs / "noclobber", "--version"], tmp_path).stdout
    assert re.fullmatch(r"noclobber \d+\.\d+\.\d+ \(contract \d+\)\n", told)
    done = run([programs / "noclobber", "run", "--file", "s.jsonl", "--file-only", "--", "python", "-c", "0"], tmp_path)
    assert done.returncode == 0, done.stderr
    done = run([programs / "noclobber", "collector", "--store", "http://x"], tmp_path)
    assert done.returncode == 2
    assert "pip install 'noclobber[collector]'" in done.stderr


def test_both_commands_of_the_readme_run_from_the_wheel(built: Built, tmp_path: Path) -> None:
    """`noclobber demo` from the wheel; then the tests of the source distribution, against the wheel."""
    programs = environment(tmp_path, f"noclobber[demo] @ {built.wheel.as_uri()}")
    demo = run([programs / "noclobber", "demo", "--once"], tmp_path, 180)
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout + demo.stderr
    assert "LOST UPDATE" in demo.stdout
    done = run([programs / "pip", "install", "--quiet", f"noclobber[test] @ {built.wheel.as_uri()}"], tmp_path)
    assert done.returncode == 0, done.stderr
    where = run([programs / "python", "-c", "import noclobber; print(noclobber.__file__)"], built.source).stdout
    assert Path(where.strip()).is_relative_to(tmp_path)
    chosen = () if os.environ.get("NOCLOBBER_WHOLE") else SOME_TESTS
    tests = run([programs / "python", "-m", "pytest", "-q", *chosen], built.source, 1500)
    print(tests.stdout.splitlines()[-1])
    assert tests.returncode == 0, tests.stdout[-4000:] + tests.stderr
