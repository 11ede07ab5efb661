"""The Kubernetes files hold against Kubernetes' own schemas and the house's rules; a mistake of each kind is found."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "infra" / "k8s"
# KubeRay's own schemas are in no package: its pods are held against Kubernetes', the rest against our rules.
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "kubernetes-1.37.json").read_text())
GUARDS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "guards.yaml").read_text()))
SERVICE: dict[str, Any] = yaml.safe_load((FOLDER / "rayservice.yaml").read_text())


def unlike(document: dict[str, Any], kind: str) -> list[str]:
    """What Kubernetes' schema of a kind doesn't allow in a document."""
    schema = {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{SCHEMA['kinds'][kind]}"}
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


def templates(service: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods of head and workers."""
    cluster = service["spec"]["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def faults(service: dict[str, Any], guards: list[dict[str, Any]]) -> list[str]:
    """All that is wrong with the service and what guards it."""
    found = [fault for guard in guards for fault in unlike(guard, guard["kind"])]
    cluster = service["spec"]["rayClusterConfig"]
    if not cluster.get("enableInTreeAutoscaling"):
        found.append("the cluster doesn't grow")
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        found.append("the head takes work")
    classes = {guard["metadata"]["name"] for guard in guards if guard["kind"] == "PriorityClass"}
    for template in templates(service):
        found += unlike({"apiVersion": "v1", "kind": "Pod", **template}, "Pod")
        found += _unsafe(template, classes)
    return found + _unguarded(templates(service), guards)


def _unsafe(template: dict[str, Any], classes: set[str]) -> list[str]:
    spec, found = template["spec"], []
    if not spec.get("securityContext", {}).get("runAsNonRoot"):
        found.append("a pod may run as root")
    if spec.get("priorityClassName") not in classes:
        found.append(f"no such priority class: {spec.get('priorityClassName')}")
    for container in spec["containers"]:
        resources = container.get("resources", {})
        if not {"cpu", "memory", "ephemeral-storage"} <= resources.get("limits", {}).keys():
            found.append("a container without limits of cpu, memory and disk")
        if resources.get("limits") != resources.get("requests"):
            found.append("a container that is promised less than it may take is the first to be evicted")
        if container.get("securityContext", {}).get("allowPrivilegeEscalation") is not False:
            found.append("a container may become root")
    return found


def _unguarded(pods: list[dict[str, Any]], guards: list[dict[str, Any]]) -> list[str]:
    """Budgets and policies that choose no pod of ours guard nothing."""
    labels = [pod["metadata"]["labels"].items() for pod in pods]
    found = []
    for guard in guards:
        chosen = guard["spec"].get("selector", guard["spec"].get("podSelector")) if "spec" in guard else None
        if chosen is not None and not any(chosen["matchLabels"].items() <= pod for pod in labels):
            found.append(f"{guard['kind']} {guard['metadata']['name']} chooses no pod")
    return found


def test_the_files_are_without_fault() -> None:
    assert faults(SERVICE, GUARDS) == []


def test_a_drained_sampler_has_time_to_save_what_it_has() -> None:
    from services.video.config import SamplerSettings

    gpu = templates(SERVICE)[-1]["spec"]
    assert gpu["terminationGracePeriodSeconds"] > SamplerSettings().drain_s


def test_no_shipped_service_cuts_a_long_download_or_lets_a_request_hang_for_ever() -> None:
    shipped = yaml.safe_load((FOLDER.parents[1] / "services" / "video" / "serve.yaml").read_text())
    for config in (shipped, yaml.safe_load(SERVICE["spec"]["serveConfigV2"])):
        assert config["http_options"]["request_timeout_s"] >= 3600


def container(service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = templates(service)[-1]["spec"]["containers"][0]
    return found


MISTAKES: dict[str, Callable[[dict[str, Any], list[dict[str, Any]]], Any]] = {
    "a misspelt name": lambda service, _: container(service).update(enFrom=[]),
    "a number where text belongs": lambda service, _: container(service).update(image=7),
    "a port that is text": lambda service, _: container(service)["ports"][0].update(containerPort="8080"),
    "no autoscaling": lambda service, _: service["spec"]["rayClusterConfig"].pop("enableInTreeAutoscaling"),
    "work on the head": lambda service, _: service["spec"]["rayClusterConfig"]["headGroupSpec"][
        "rayStartParams"
    ].clear(),
    "root": lambda service, _: templates(service)[0]["spec"]["securityContext"].pop("runAsNonRoot"),
    "a way to root": lambda service, _: container(service).pop("securityContext"),
    "no limit of the disk": lambda service, _: container(service)["resources"]["limits"].pop("ephemeral-storage"),
    "an unknown priority": lambda service, _: templates(service)[0]["spec"].update(priorityClassName="high"),
    "a budget for nobody": lambda _, guards: guards[2]["spec"]["selector"]["matchLabels"].update({"sora-role": "x"}),
    "a budget of words": lambda _, guards: guards[2]["spec"].update(maxUnavailable={"most": 1}),
    "a policy with a protocol as number": lambda _, guards: guards[-1]["spec"]["ingress"][2]["ports"][0].update(
        protocol=6
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    service, guards = copy.deepcopy(SERVICE), copy.deepcopy(GUARDS)
    MISTAKES[mistake](service, guards)
    assert faults(service, guards)
