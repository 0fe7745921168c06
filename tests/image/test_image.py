"""The image itself: built from our Dockerfile, and what it holds started as a container starts it.

No daemon and no registry of images is needed. The base is a Debian made by `mmdebstrap`, given as the build argument
`BASE`; `buildah` builds without containers of its own (isolation `chroot`); the packages come from wheels that are
fetched before, so that the build itself asks nobody. What was built is started by the image's own configuration, with
namespaces of its own for mounts, processes and network, a read-only root, no capability, and as the image's user.

Needs Linux, root, Debian's packages `buildah` and `mmdebstrap`, and their index. Run with `nox -s image`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "mmdebstrap", "unshare", "nsenter", "setpriv")
SUITE = "bookworm"
SIZE_MAX = 1_250_000_000
"""Of what the image adds to its base; half of it is the embedded store."""
BUILD_S = 1500
READY_S = 60
STOP_S = 30
TOKEN = "token-of-the-test"

missing = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(2 * BUILD_S),
    pytest.mark.skipif(bool(missing), reason=f"not on this machine: {', '.join(missing)}"),
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can lay out an image's root"),
]


def run(*words: str | Path) -> str:
    """Run to its end; what it said."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Image:
    """What was built.

    Attributes:
        config: the image's configuration. root: its files, laid out. added: bytes over the base.
    """

    def __init__(self, folder: Path) -> None:
        self._buildah = ("buildah", "--root", folder / "store", "--runroot", folder / "run", "--storage-driver", "vfs")
        base = self._base(folder)
        self._build(folder, base)
        told = json.loads(self.buildah("inspect", "--type", "image", "noclobber"))
        self.config: dict[str, Any] = told["Docker"]["config"]
        self.root = Path(self.buildah("mount", self.buildah("from", "--pull-never", "noclobber").strip()).strip())
        sizes = {each["names"][0]: each["size"] for each in json.loads(self.buildah("images", "--json"))}
        print(f"\nbase and image: {sizes}")
        self.added = _bytes(self.root) - _bytes(base)

    def buildah(self, *words: str | Path) -> str:
        """Ask the builder."""
        return run(*self._buildah, *words)

    def _base(self, folder: Path) -> Path:
        """A Debian with Python and pip, as an image; returns its root."""
        packages = "--include=python3,python3-pip,python-is-python3,ca-certificates"
        run("mmdebstrap", "--mode=root", "--variant=minbase", packages, SUITE, folder / "base.tar")
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", container, folder / "base.tar", "/")
        self.buildah("commit", "--quiet", container, "localhost/base")
        return Path(self.buildah("mount", container).strip())

    def _build(self, folder: Path, base: Path) -> None:
        version = run("chroot", base, "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        wheels = folder / "wheels"
        fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", version)
        run(*fetch, "-c", ROOT / "constraints.txt", "-d", wheels, "hatchling>=1.27", *_wanted("sidecar"))
        (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self.buildah(
            "bud", "--isolation", "chroot", "--format", "docker", "--build-arg", "BASE=localhost/base",
            "--volume", f"{wheels}:/wheels:ro", "--volume", f"{folder / 'pip.conf'}:/etc/pip.conf:ro",
            "--ignorefile", ROOT / ".dockerignore", "-f", ROOT / "deploy/image/Dockerfile", "-t", "noclobber", ROOT,
        )  # fmt: skip


def _wanted(extra: str) -> set[str]:
    """Requirements of an extra, those of the extras that it names included; markers are of no account here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = set(project["dependencies"])
    for text in project["optional-dependencies"][extra]:
        requirement = Requirement(text)
        named = requirement.extras if requirement.name == "noclobber" else ()
        found |= {each for name in named for each in _wanted(name)} or {f"{requirement.name}{requirement.specifier}"}
    return found


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


class Container:
    """The image's command, or another one, as its configuration says; the root read-only, no capability, no network.

    Attributes:
        process: the outermost process; its child is the first of the container.
    """

    def __init__(self, image: Image, log: Path, *words: str) -> None:
        config = image.config
        self.image, self.log = image, log
        self.environment = dict(each.split("=", 1) for each in config["Env"]) | {"NOCLOBBER_TOKEN": TOKEN}
        user, group = config["User"].split(":")
        volumes = [*config["Volumes"], "/tmp"]
        mounts = [
            f"mount --rbind {image.root} {image.root}",
            *(f"mount -t tmpfs -o mode=0770,uid={user},gid={group} none {image.root}{each}" for each in volumes),
            f"mount -t proc none {image.root}/proc",
            f"mount --rbind /dev {image.root}/dev",
            f"mount --rbind -o ro /sys {image.root}/sys",
            f"mount -o remount,bind,ro {image.root}",
            "ip link set lo up",
        ]
        least = f"--reuid {user} --regid {group} --clear-groups --bounding-set -all --inh-caps -all --no-new-privs"
        command = " ".join([*config["Entrypoint"], *(words or config["Cmd"])])
        inside = f"exec chroot {image.root} sh -c 'cd {config['WorkingDir']} && exec setpriv {least} {command}'"
        apart = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*apart, "sh", "-ec", "\n".join([*mounts, inside])],
                env=self.environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_S)

    @property
    def first(self) -> int:
        """The container's first process, by its number outside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until = time.monotonic() + READY_S
        while not (found := children.read_text().split()):
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.01)
        return int(found[0])

    def does(self, words: Sequence[str]) -> int:
        """Exit code of a command inside, as a health check is run."""
        own = [f"{name}={value}" for name, value in self.environment.items()]
        inside = ("nsenter", "-t", str(self.first), "--net", "--pid", "chroot", str(self.image.root), "env", "-i", *own)
        return subprocess.run([*inside, *words], capture_output=True, timeout=STOP_S, check=False).returncode

    def wait_until_healthy(self) -> float:
        """By the image's own health check; seconds that it took."""
        kind, *words = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        began = time.monotonic()
        while time.monotonic() < began + READY_S and self.process.poll() is None:
            if self.does(words) == 0:
                return time.monotonic() - began
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built once; its files are gone afterwards, since they are many."""
    folder = tmp_path_factory.mktemp("image")
    made = Image(folder)
    yield made
    made.buildah("umount", "--all")
    made.buildah("rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


def test_it_is_configured_as_the_manifests_expect(image: Image) -> None:
    """Nobody's user, one entry point, ports, a volume, a health check, a signal to end by."""
    config = image.config
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["noclobber"], ["up"], "SIGTERM")
    assert set(config["ExposedPorts"]) == {"4317/tcp", "4318/tcp", "8501/tcp", "9464/tcp"}
    assert list(config["Volumes"]) == ["/var/lib/noclobber"]
    assert config["Healthcheck"]["Retries"] == 3


def test_it_holds_what_runs_and_nothing_that_builds(image: Image) -> None:
    """No source, no installer in its environment, nothing of the build's wheels or settings; and it is not larger."""
    print(f"\nthe image adds {image.added / 1e6:.0f} MB to its base")
    assert not (image.root / "source").exists()
    assert not list(image.root.glob("wheels/*"))
    assert not list((image.root / "opt/noclobber/lib").glob("*/site-packages/pip"))
    settings = image.root / "etc/pip.conf"
    assert not settings.exists() or not settings.read_text()
    assert (image.root / "var/lib/noclobber").stat().st_uid == 10001
    writable = [
        path for path in (image.root / "opt").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o002
    ]
    assert writable == []
    assert image.added < SIZE_MAX


def test_it_says_its_version(image: Image, tmp_path: Path) -> None:
    """The words after the image's name are the command's."""
    with Container(image, tmp_path / "log", "--version") as container:
        assert container.process.wait(READY_S) == 0
    assert (tmp_path / "log").read_text().startswith("noclobber ")


def test_a_container_is_healthy_on_a_read_only_root_and_ends_in_order(image: Image, tmp_path: Path) -> None:
    """The sidecar whole, store and dashboard included, by a user without any capability; SIGTERM ends it in time."""
    with Container(image, tmp_path / "log") as container:
        took_s = container.wait_until_healthy()
        print(f"\nhealthy after {took_s:.1f} s")
        asks = f"u.Request('http://127.0.0.1:8501/api/v1/health', headers={{'authorization': 'Bearer {TOKEN}'}})"
        ready = f"import urllib.request as u; u.urlopen({asks}, timeout=4)"
        until = time.monotonic() + READY_S
        while container.does(["python", "-c", ready]) != 0:
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.2)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{container.first}/status").read_text().splitlines())
        assert status["Uid"].split() == ["10001"] * 4
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh")} == {0}
        began = time.monotonic()
        os.kill(container.first, signal.SIGTERM)
        assert container.process.wait(STOP_S) == 0, (tmp_path / "log").read_text()
        print(f"ended after {time.monotonic() - began:.1f} s")


def test_it_refuses_to_listen_to_everybody_without_a_token(image: Image, tmp_path: Path) -> None:
    """The image listens on all addresses: whoever forgets the token is told so, and nothing starts."""
    with Container(image, tmp_path / "log", "up", "--token", '""') as container:
        assert container.process.wait(READY_S) == 2
    assert "token" in (tmp_path / "log").read_text()
