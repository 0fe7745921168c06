"""Manifests say what the program does: their commands, variables, ports and paths are the program's own."""

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from shipped import (
    DEPLOY,
    GUIDE,
    ROOT,
    Start,
    check,
    containers,
    documents,
    image_environment,
    services,
    settings_of,
    starts_in_compose,
    starts_in_pods,
    starts_in_units,
)

COMPOSE = [DEPLOY / "compose" / "compose.yaml", DEPLOY / "compose" / "beside-otel.yaml"]
DOCKERFILES = [DEPLOY / "image" / "Dockerfile", DEPLOY / "otel-operator" / "Dockerfile"]
PLAIN = [
    path
    for path in sorted((DEPLOY / "kustomize").rglob("*.yaml"))
    if path.name != "kustomization.yaml"
]  # fmt: skip
UID = "10001"


def everything() -> Iterator[Start]:
    """Every start that is found without a tool that renders."""
    for path in COMPOSE:
        yield from (start for _, start in starts_in_compose(path))
    yield from starts_in_units()
    for path in PLAIN:
        yield from starts_in_pods(documents(path.read_text()))


@pytest.mark.parametrize("start", list(everything()), ids=lambda start: start.where)
def test_what_is_started_is_what_the_program_takes(start: Start) -> None:
    """Words, variables, ports and probes."""
    check(start)


def test_every_part_is_started_somewhere() -> None:
    """And nothing that is no part."""
    assert {start.words[0] for start in everything()} == {"up", "collector", "analyzer", "dashboard", "run"}


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("collector", "--spool-max=1"), {}, "unrecognized"),
        (("collector",), {"NOCLOBBER_TOKN": "x"}, "NOCLOBBER_TOKN"),
        (("collector",), {"NOCLOBBER_KEY": "x"}, "NOCLOBBER_KEY"),  # an agent's, which no service reads
        (("analyzer",), {}, "no port of it"),  # 4318, without --metrics-port
        (("dashboard", "--dashboard-port=9000"), {}, "no port of it"),
    ],
)
def test_a_manifest_that_has_drifted_is_found(
    words: tuple[str, ...], environment: dict[str, str], said: str
) -> None:  # fmt: skip
    """The check can fail: an option, a variable or a port that there is not."""
    with pytest.raises(AssertionError, match=said):
        check(Start("made", words, {"NOCLOBBER_STORE": "http://x", **environment}, ports=frozenset({4318})))


def test_the_image_exposes_what_its_parts_listen_on() -> None:
    """And asks for health where `up` and `collector` answer."""
    text = DOCKERFILES[0].read_text()
    (exposed,) = re.findall(r"^EXPOSE (.+)$", text, re.MULTILINE)
    listens = set().union(*(start.listens() for start in everything() if start.words[0] != "run"))
    assert {int(port) for port in exposed.split()} == listens
    assert re.search(r"http://127\.0\.0\.1:4318/ready", text)
    assert set(image_environment()) - {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"} <= settings_of(
        "In the sidecar"
    )


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_an_image_copies_is_there_and_not_kept_from_the_builder(path: Path) -> None:
    """Each COPY from the repository, and `.dockerignore` lets it pass."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(name.startswith(source) or source.startswith(name) for name in allowed), source


def test_every_package_goes_into_the_image() -> None:
    """A part that is added to the wheel is added to the image."""
    packages = re.findall(r'^    "(\w+/noclobber\w*)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(packages) == 5
    for path in DOCKERFILES:
        copied = [word for line in re.findall(r"^COPY (?!--)(.+) \S+$", path.read_text(), re.MULTILINE)
                  for word in line.split()]  # fmt: skip
        assert [name for name in packages if not any(name.startswith(word) for word in copied)] == []


def test_users_and_paths_are_the_same_everywhere() -> None:
    """One uid, one folder for data; a read-only root with /tmp to write to."""
    image = DOCKERFILES[0].read_text()
    assert f"USER {UID}:{UID}" in image
    data = image_environment()["NOCLOBBER_DATA"]
    assert f"VOLUME {data}" in image
    for path in PLAIN:
        for container in (each for doc in documents(path.read_text()) for each in containers(doc)):
            if container.get("image") != "noclobber":
                continue
            security = container["securityContext"]
            assert (security["runAsUser"], security["readOnlyRootFilesystem"]) == (int(UID), True)
            assert security["capabilities"] == {"drop": ["ALL"]}
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts == ({data, "/tmp"} if container["args"][0] == "collector" else {"/tmp"})
    for path in COMPOSE:
        for name, service in services(path).items():
            assert "no-new-privileges:true" in service["security_opt"], name
            if service["image"].startswith("noclobber:"):
                assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
            if {"up", "collector"} & set(service.get("command", ())):
                assert any(volume.endswith(f":{data}") for volume in service["volumes"]), name
    for start in starts_in_units():
        if start.words[0] in ("up", "collector"):
            assert start.environment["NOCLOBBER_DATA"] == data


def test_whatever_is_published_is_published_on_this_machine_only() -> None:
    """Nobody opens a port to the world by trying it."""
    ports = [port for path in COMPOSE for service in services(path).values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_versions_are_the_packages_own() -> None:
    """Image tags, the chart and the package name one version; the chart names the contract's."""
    from noclobber.contract import CONTRACT_VERSION

    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    chart = yaml.safe_load((DEPLOY / "helm" / "noclobber" / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    assert chart["annotations"]["noclobber/contract"] == CONTRACT_VERSION
    for path in COMPOSE:
        assert {each["image"] for each in services(path).values() if "noclobber" in each["image"]} == {
            f"noclobber:{version}"
        }
    for path in (DEPLOY / "kustomize").rglob("kustomization.yaml"):
        for image in yaml.safe_load(path.read_text()).get("images", ()):
            assert image["newTag"] == version, path


def test_all_agents_have_one_key_and_never_the_stores_password() -> None:
    """Prints of contents compare only under one key; an agent needs no way into the store."""
    for path in PLAIN:
        for container in (each for doc in documents(path.read_text()) for each in containers(doc)):
            named = {each["name"]: each for each in container.get("env", ())}
            if container["name"] == "agent" and named:
                assert named["NOCLOBBER_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "noclobber-shared", "key": "key"}
                assert "NOCLOBBER_STORE" not in named
            else:
                assert "NOCLOBBER_KEY" not in named


def test_the_collector_that_fans_out_leaves_no_span_out() -> None:
    """Its pipeline to noclobber samples nothing, queues on disk and never gives up; its parts are declared."""
    config = yaml.safe_load((DEPLOY / "otel-collector" / "fan-out.yaml").read_text())
    pipeline = config["service"]["pipelines"]["traces/noclobber"]
    assert set(pipeline["processors"]) <= {"memory_limiter", "batch"}
    (name,) = pipeline["exporters"]
    exporter = config["exporters"][name]
    assert exporter["sending_queue"]["storage"] in config["service"]["extensions"]
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    for each in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(each[kind]) <= config[kind].keys()
    assert set(config["service"]["extensions"]) <= config["extensions"].keys()
    told = services(COMPOSE[1])["otel-collector"]["environment"]
    text = (DEPLOY / "otel-collector" / "fan-out.yaml").read_text()
    assert set(re.findall(r"\$\{env:(\w+)\}", text)) == told.keys()
    assert exporter["headers"]["authorization"] == "Bearer ${env:NOCLOBBER_TOKEN}"


def test_the_operators_annotations_stand_on_the_pod_template() -> None:
    """On the Deployment itself the operator would not look at them; what is injected are an agent's settings."""
    (agent,) = documents((DEPLOY / "otel-operator" / "agent.yaml").read_text())
    (instrumentation,) = documents((DEPLOY / "otel-operator" / "instrumentation.yaml").read_text())
    annotations = agent["spec"]["template"]["metadata"]["annotations"]
    assert annotations["instrumentation.opentelemetry.io/inject-python"] == instrumentation["metadata"]["name"]
    assert "annotations" not in agent["metadata"]
    assert {each["name"] for each in instrumentation["spec"]["python"]["env"]} <= settings_of("In an agent")


def test_the_trial_servers_configuration_is_the_shipped_one() -> None:
    """Kustomize reads no file outside its folder, so it has a copy."""
    copy = DEPLOY / "kustomize" / "overlays" / "try" / "noclobber.xml"
    assert copy.read_bytes() == (DEPLOY / "clickhouse" / "config.d" / "noclobber.xml").read_bytes()


def test_keeper_and_cluster_name_the_same_servers() -> None:
    """Three of them, at the port on which they listen, with numbers of their own."""
    keeper = ET.parse(DEPLOY / "clickhouse" / "keeper" / "keeper.xml").getroot()
    cluster = ET.parse(DEPLOY / "clickhouse" / "cluster" / "cluster.xml").getroot()
    members = keeper.findall("keeper_server/raft_configuration/server")
    port = keeper.findtext("keeper_server/tcp_port")
    assert [each.findtext("id") for each in members] == ["1", "2", "3"]
    assert [(each.findtext("host"), each.findtext("port")) for each in cluster.findall("zookeeper/node")] == [
        (each.findtext("hostname"), port) for each in members
    ]


def test_the_examples_of_secrets_are_no_secrets() -> None:
    """Whoever ships them as they are is told by their text; no other value stands anywhere."""
    for path in (DEPLOY / "compose" / ".env.example", *(DEPLOY / "kustomize").rglob("*.env")):
        for line in path.read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and not name.startswith("#") and name not in ("CLICKHOUSE_DB", "CLICKHOUSE_USER"):
                assert "change-me" in value, f"{path}: {name}"


def test_whoever_starts_with_the_units_example_gets_settings_that_there_are() -> None:
    """Each variable of the example, the commented ones included."""
    text = (DEPLOY / "systemd" / "noclobber.env").read_text()
    assert set(re.findall(r"^#?(NOCLOBBER_\w+)=", text, re.MULTILINE)) <= settings_of("In the sidecar") | {
        "NOCLOBBER_KEY"
    }


def test_git_ships_the_hidden_files() -> None:
    """An ignore rule that took `.env.example` along would be seen by nobody."""
    listed = subprocess.run(
        ["git", "check-ignore", "deploy/compose/.env.example", ".dockerignore"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listed.stdout == ""


def test_the_guide_names_what_is_there() -> None:
    """Each path under `deploy`, each session of nox, each label and Secret that the pages name."""
    pages = "".join((GUIDE / name).read_text() for name in ("deploy.md", "release.md", "store.md"))
    paths = {each.rstrip("./") for each in re.findall(r"(?<![\w/.])deploy/[\w/.-]+", pages)}
    assert len(paths) > 8
    assert [each for each in sorted(paths) if not (ROOT / each).exists()] == []
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    assert set(re.findall(r"`nox -s (\w+)`", pages)) <= sessions
    shipped = "".join(path.read_text() for path in DEPLOY.rglob("*.yaml"))
    for word in ("noclobber-services", "noclobber-shared", "noclobber/agent", "noclobber/sidecar"):
        assert word in pages, word
        assert word in shipped, word
