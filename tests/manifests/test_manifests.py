"""Everything under `deploy` is what it claims to be, by the tools of those who take it.

By the schemas of three versions of Kubernetes, strictly, by the schema of compose files, by linters, and by helm and
kustomize themselves.

What a tool renders is then held against noclobber's own parser, as the plain manifests are in every run
(`tests/deploy/test_shipped.py`). Each check is also shown a broken file, so that it is known to be able to fail.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from manifest_tools import TOOLS, Tool
from shipped import DEPLOY, ROOT, Start, check, containers, documents, pod_of, starts_in_pods

KUBERNETES = ("1.29", "1.33", "1.37")
"""The first that starts native sidecars by default, one of the middle, the newest that schemas are to be had for."""
CHART = DEPLOY / "helm" / "noclobber"
VALUES = {"default": [], "minimal": ["-f", CHART / "examples" / "minimal.yaml"],
          "full": ["-f", CHART / "examples" / "full.yaml"]}  # fmt: skip
OVERLAYS = ("try", "production")
SCORE_MAX = 2.5
YAML_RULES = (
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable, braces: {max-spaces-inside: 1}, "
    "comments: {min-spaces-from-content: 1}}}"
)


def rendered(tool: Tool, name: str) -> str:
    """A chart by its values, or an overlay."""
    if name in VALUES:
        done = tool("helm", "template", "noclobber", CHART, "--namespace", "agents", *VALUES[name])
    else:
        done = tool("kubectl", "kustomize", DEPLOY / "kustomize" / "overlays" / name)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", [*VALUES, *OVERLAYS])
def test_what_is_rendered_is_valid(tool: Tool, tmp_path: Path, name: str, version: str) -> None:
    """Every document, strictly: a field that the version does not know is a mistake."""
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered(tool, name))
    done = tool("kubernetes-validate", "--strict", "-k", version, path)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = (done.stdout + done.stderr).count(" passed for resource ")
    assert passed == len(documents(path.read_text())) >= 9


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_operators_example_is_valid(tool: Tool, version: str) -> None:
    """The agent's Deployment; of the operator's own kinds there is no schema to be had offline."""
    done = tool("kubernetes-validate", "--strict", "-k", version, DEPLOY / "otel-operator" / "agent.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_field_that_there_is_not_is_found(tool: Tool, tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "bad.yaml"
    path.write_text(rendered(tool, "minimal").replace("readinessProbe", "readynessProbe"))
    done = tool("kubernetes-validate", "--strict", "-k", KUBERNETES[1], path)
    assert done.returncode != 0
    assert "readynessProbe" in done.stdout + done.stderr


@pytest.mark.parametrize("name", [*VALUES, *OVERLAYS])
def test_what_is_rendered_is_what_the_program_takes(tool: Tool, name: str) -> None:
    """Words, variables, ports and probes of each container."""
    starts = list(starts_in_pods(documents(rendered(tool, name))))
    wanted = {"collector", "analyzer", "dashboard"} | ({"run"} if name in ("full", "try") else set())
    assert {start.words[0] for start in starts} == wanted
    for start in starts:
        check(start)


@pytest.mark.parametrize("name", [*VALUES, *OVERLAYS])
def test_pods_are_locked_down(tool: Tool, name: str) -> None:
    """No root, no capability, nothing to write but what is mounted, no account's token; limits of memory."""
    for document in documents(rendered(tool, name)):
        pod = pod_of(document)
        if pod is None or document["metadata"]["name"] == "clickhouse":
            continue
        agents = any(each["name"] == "agent" for each in pod["containers"])
        assert agents or pod["automountServiceAccountToken"] is False
        for container in containers(document):
            if container["name"] == "agent":
                continue
            security = container["securityContext"]
            assert security["runAsNonRoot"]
            assert security["readOnlyRootFilesystem"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize("name", ["full", "try"])
def test_the_sidecar_is_a_native_one_with_a_spool_of_its_own(tool: Tool, name: str) -> None:
    """It starts before the agent and ends after it; each has a bounded emptyDir."""
    agents = [each for each in documents(rendered(tool, name)) if any(c["name"] == "agent" for c in containers(each))]
    assert agents
    for document in agents:
        pod = pod_of(document)
        assert pod is not None
        (sidecar,) = pod["initContainers"]
        assert sidecar["restartPolicy"] == "Always"
        volumes = {each["name"]: each for each in pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in sidecar["volumeMounts"]}
        (agent,) = pod["containers"]
        own = {mount["mountPath"]: mount["name"] for mount in agent["volumeMounts"]}
        assert mounts["/var/lib/noclobber"] != own["/var/spool/noclobber"]
        for volume in (mounts["/var/lib/noclobber"], own["/var/spool/noclobber"]):
            assert volumes[volume]["emptyDir"]["sizeLimit"]
        assert document["spec"]["template"]["metadata"]["labels"]["noclobber/agent"] == "true"


@pytest.mark.parametrize("name", [*VALUES, *OVERLAYS])
def test_selectors_find_what_they_mean(tool: Tool, name: str) -> None:
    """Each Service, budget, policy and autoscaler matches a workload; each Secret that is named is one of two."""
    found = documents(rendered(tool, name))
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in found if pod_of(each)]
    scaled = {(each["kind"], each["metadata"]["name"]) for each in found}
    for each in found:
        spec = each.get("spec", {})
        selector = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": (spec.get("selector") or {}).get("matchLabels"),
            "NetworkPolicy": (spec.get("podSelector") or {}).get("matchLabels"),
        }.get(each["kind"])
        if selector:
            assert any(selector.items() <= one.items() for one in labels), each["metadata"]["name"]
        if each["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert (target["kind"], target["name"]) in scaled
    named = set(re.findall(r"secretKeyRef:\s*\{?\s*(?:key: [\w-]+,?\s*)?name: ([\w-]+)", rendered(tool, name)))
    made = {each["metadata"]["name"] for each in found if each["kind"] == "Secret"}
    assert len({each for each in named if not each.startswith("clickhouse")}) == 2
    assert not made or named <= made


@pytest.mark.parametrize("name", VALUES)
def test_helm_finds_nothing_to_say(tool: Tool, name: str) -> None:
    """Strictly."""
    done = tool("helm", "lint", "--strict", CHART, *VALUES[name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("collector.replcas=2", "additional properties"),
        ("secrets.create=true", "secrets.store"),
        ("collector.spool.bytesMax=many", "integer"),
        ("analyzer.webhooks={ftp://x}", "pattern"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(tool: Tool, value: str, said: str) -> None:
    """With words that name it."""
    done = tool("helm", "template", "noclobber", CHART, "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


def test_every_value_is_described_and_used(tool: Tool) -> None:
    """The schema, the defaults and the templates name the same."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    assert schema.keys() - values.keys() == {"global", "nameOverride", "fullnameOverride"}
    assert [name for name in values if f".Values.{name}" not in text] == []
    for name, value in values.items():
        if isinstance(value, dict) and "properties" in schema[name]:
            assert value.keys() == schema[name]["properties"].keys(), name
    rendered(tool, "default")


@pytest.mark.parametrize("name", ["compose.yaml", "beside-otel.yaml"])
def test_compose_files_are_such(tool: Tool, tmp_path: Path, name: str) -> None:
    """By the schema of the compose specification; a condition that there is not is found."""
    path = DEPLOY / "compose" / name
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
    assert done.returncode == 0, done.stdout
    bad = tmp_path / name
    bad.write_text(path.read_text().replace("service_healthy", "service_helthy"))
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", bad).returncode == 1


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("Dockerfile")), ids=lambda path: path.parent.name)
def test_dockerfiles_pass_their_linter(tool: Tool, tmp_path: Path, path: Path) -> None:
    """Every rule."""
    done = tool("hadolint", "--no-color", path)
    assert done.returncode == 0, done.stdout
    bad = tmp_path / "Dockerfile"
    bad.write_text(path.read_text() + "RUN cd /tmp && sudo apt-get install x\n")
    assert tool("hadolint", bad).returncode == 1


def test_yaml_is_tidy(tool: Tool) -> None:
    """All but the chart's templates, which are none before they are rendered."""
    paths = [each for each in sorted(DEPLOY.rglob("*.yaml")) if "templates" not in each.parts]
    assert len(paths) > 15
    done = tool("yamllint", "--strict", "-d", YAML_RULES, *paths)
    assert done.returncode == 0, done.stdout


def test_scripts_pass_their_linter(tool: Tool) -> None:
    """What continuous integration runs."""
    if not (ROOT / ".ci" / "run").exists():
        pytest.skip("a source distribution has no .ci/run")
    done = tool("shellcheck", "--severity=style", ROOT / ".ci" / "run")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_units_hold_and_are_hardened(tool: Tool, tmp_path: Path, path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, and its score of exposure is 2.5 at most."""
    program = tmp_path / "noclobber"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    settings = tmp_path / "noclobber.env"
    shutil.copy(DEPLOY / "systemd" / "noclobber.env", settings)
    for each in (DEPLOY / "systemd").glob("*.service"):  # they name one another
        text = each.read_text().replace("/opt/noclobber/bin/noclobber", str(program))
        (tmp_path / each.name).write_text(text.replace("/etc/noclobber/noclobber.env", str(settings)))
    unit = tmp_path / path.name
    verified = tool("systemd-analyze", "verify", "--recursive-errors=one", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = tool("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert float(score) <= SCORE_MAX
    unit.write_text(unit.read_text() + "\n[Service]\nProtectSystm=strict\n")
    assert "ProtectSystm" in tool("systemd-analyze", "verify", unit).stderr


def test_a_start_that_helm_would_render_wrongly_is_found(tool: Tool) -> None:
    """The check of rendered starts can fail, too."""
    text = rendered(tool, "minimal").replace("--metrics-port=9464", "--metrics-prt=9464")
    analyzer = [start for start in starts_in_pods(documents(text)) if start.words[0] == "analyzer"]
    with pytest.raises(AssertionError, match="metrics-prt"):
        check(Start("helm", analyzer[0].words, analyzer[0].environment))


def test_no_tool_is_missing_where_all_are_promised() -> None:
    """Under `nox -s manifests` nothing is skipped for want of a tool."""
    if not os.environ.get("NOCLOBBER_TOOLS"):
        pytest.skip("only under `nox -s manifests`")
    wanted = ("helm", "kubectl", "kubernetes-validate", "check-jsonschema", "hadolint", "yamllint", "shellcheck",
              "systemd-analyze")  # fmt: skip
    assert [name for name in wanted if shutil.which(name, path=TOOLS) is None] == []
