"""What is shipped to run the server elsewhere: the Dockerfile, compose.yaml, the Kubernetes manifests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from server.settings import Settings

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted(path for path in (ROOT / "deploy/kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
KUBERNETES = ("1.31", "1.34")
SETTINGS = {name.upper() for name in Settings.model_fields}
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def resources() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in resources() if found["kind"] == kind}


def server_of(deployment: dict[str, Any]) -> dict[str, Any]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    (server,) = (container for container in containers if container["name"] == "server")
    return dict(server)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint comes for Linux on x86-64 alone")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([HADOLINT or "", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_takes_each_manifest(path: Path, version: str) -> None:
    for resource in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_wrong_manifest_is_refused() -> None:
    wrong = of_kind("Deployment")["research-agent-api"]
    wrong["spec"]["replicsa"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    kustomization = yaml.safe_load((ROOT / "deploy/kubernetes/kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


@pytest.mark.parametrize("name", ["research-agent-api", "research-agent-worker"])
def test_pods_get_their_time_and_may_write_little(name: str) -> None:
    grace = float(of_kind("ConfigMap")["research-agent"]["data"]["SHUTDOWN_GRACE_SEC"])
    pod = of_kind("Deployment")[name]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > grace + 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    server = server_of(of_kind("Deployment")[name])
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(server)
    assert server["args"] == ["--role", name.removeprefix("research-agent-")]


def test_a_budget_guards_the_pods_of_each_deployment() -> None:
    guarded = [budget["spec"]["selector"]["matchLabels"] for budget in of_kind("PodDisruptionBudget").values()]
    for deployment in of_kind("Deployment").values():
        assert deployment["spec"]["template"]["metadata"]["labels"] in guarded
        assert deployment["spec"]["replicas"] > 1


def test_what_is_set_are_settings() -> None:
    assert set(of_kind("ConfigMap")["research-agent"]["data"]) <= SETTINGS
    for name, service in compose()["services"].items():
        if name != "postgres":
            assert set(service["environment"]) <= SETTINGS, name


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def test_compose_has_a_profile_for_each_database() -> None:
    services = compose()["services"]
    profiles = {name: service["profiles"] for name, service in services.items()}
    assert [name for name, of in profiles.items() if of == ["embedded"]] == ["server"]
    assert [name for name, of in profiles.items() if of == ["postgres"]] == ["postgres", "api", "worker-1", "worker-2"]
    assert [service.get("command") for service in services.values()] == [
        None,
        None,
        ["--role", "api"],
        ["--role", "worker"],
        ["--role", "worker"],
    ]
    # All are on the machine's own network.
    ports = [service["environment"]["PORT"] for name, service in services.items() if name.startswith(("api", "worker"))]
    assert len(set(ports)) == 3


@pytest.mark.parametrize("name", ["server", "api", "worker-1", "worker-2"])
def test_compose_starts_servers_again_and_lets_them_write_little(name: str) -> None:
    service = compose()["services"][name]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    grace = Settings.model_fields["shutdown_grace_sec"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > grace + 2
    assert ("DATABASE_URL" in service["environment"]) == (name != "server")


def test_compose_refers_to_what_it_has() -> None:
    text = compose()
    for service in text["services"].values():
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in text["volumes"]
        for other in service.get("depends_on", {}):
            assert other in text["services"]
