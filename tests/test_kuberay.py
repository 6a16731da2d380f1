"""The manifest of a cluster on Kubernetes: its fields are KubeRay's, and it says what this project needs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from components.workspace.layout import LOCK_FILE
from tests.conftest import ROOT

# of KubeRay's RayClusterSpec, HeadGroupSpec and WorkerGroupSpec (ray-operator/apis/ray/v1): required, and used here
SPEC = {"headGroupSpec"}, {"workerGroupSpecs", "rayVersion"}
HEAD = {"rayStartParams", "template"}, {"serviceType"}
WORKERS = {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}, {"replicas"}
# of Kubernetes' PodSpec and Container
POD = {"containers"}, {"volumes", "terminationGracePeriodSeconds"}
CONTAINER = {"name"}, {"image", "ports", "env", "envFrom", "resources", "volumeMounts"}


def check(found: dict[str, Any], fields: tuple[set[str], set[str]]) -> None:
    required, optional = fields
    assert required <= set(found) <= required | optional


def test_the_fields_are_those_of_kuberay_and_kubernetes() -> None:
    manifest = yaml.safe_load((ROOT / "docs/kuberay.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    spec = manifest["spec"]
    head, [workers] = spec["headGroupSpec"], spec["workerGroupSpecs"]
    for found, fields in ((spec, SPEC), (head, HEAD), (workers, WORKERS)):
        check(found, fields)
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        check(group["template"]["spec"], POD)
        [container] = group["template"]["spec"]["containers"]
        check(container, CONTAINER)
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        names = {variable["name"] for variable in container["env"]}
        assert names == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "DOTFIELD_STORAGE", "DOTFIELD_CACHE"}


def test_ray_is_the_one_that_the_lock_names() -> None:
    locked = re.search(r"^ray(?:\[[^]]*\])?==([0-9.]+)", (ROOT / LOCK_FILE).read_text(), re.MULTILINE)
    assert locked is not None
    assert yaml.safe_load((ROOT / "docs/kuberay.yaml").read_text())["spec"]["rayVersion"] == locked[1]
