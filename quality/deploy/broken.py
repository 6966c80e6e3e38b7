"""Manifests that are broken in one place each: the check must find every one of them."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from quality.deploy.manifests import Document, named, problems

Break = Callable[[Any], object]  # Any: a document of YAML


def at(document: str, *path: str | int) -> Callable[[list[Document]], Any]:
    def find(documents: list[Document]) -> Any:
        found: Any
        (found,) = [each for each in documents if named(each).startswith(document)]
        for step in path:
            found = found[step]
        return found

    return find


def beside(container: Any, **changes: Any) -> Any:
    """Another container of the pod, without ports and probes."""
    kept = ("image", "securityContext", "resources")
    return {"name": "beside", **deepcopy({key: container[key] for key in kept}), **changes}


POD = ("spec", "template", "spec")
APP = at("Deployment app", *POD)
CONTAINER = at("Deployment app", *POD, "containers", 0)
WORKER = at("Deployment worker", *POD)
CONFIG = at("ConfigMap", "data")

# What is wrong, where, and how it is made.
BROKEN: dict[str, tuple[Callable[[list[Document]], Any], Break]] = {
    "a probe without Host": (
        CONTAINER,
        lambda c: c["readinessProbe"]["httpGet"].pop("httpHeaders"),
    ),
    "a probe with another Host": (
        CONTAINER,
        lambda c: c["livenessProbe"]["httpGet"]["httpHeaders"][0].update(value="localhost"),
    ),
    "a misspelt field": (CONTAINER, lambda c: c.update(readinesProbe=c.pop("readinessProbe"))),
    "a misspelt field of a probe": (
        CONTAINER,
        lambda c: c["readinessProbe"].update(timeoutSecond=2),
    ),
    "a number as text": (APP, lambda pod: pod.update(terminationGracePeriodSeconds="50")),
    "replicas beside an autoscaler": (at("Deployment app", "spec"), lambda s: s.update(replicas=2)),
    "root": (APP, lambda pod: pod["securityContext"].update(runAsUser=0)),
    "no seccomp profile": (WORKER, lambda pod: pod["securityContext"].pop("seccompProfile")),
    "a writable image": (CONTAINER, lambda c: c["securityContext"].pop("readOnlyRootFilesystem")),
    "capabilities": (CONTAINER, lambda c: c["securityContext"].update(capabilities={})),
    "no limit of memory": (CONTAINER, lambda c: c["resources"].pop("limits")),
    "a tag in place of a digest": (CONTAINER, lambda c: c.update(image="backend:latest")),
    "a token of the cluster": (APP, lambda pod: pod.pop("automountServiceAccountToken")),
    "too short a grace": (APP, lambda pod: pod.update(terminationGracePeriodSeconds=30)),
    "too short a grace of the worker": (
        WORKER,
        lambda pod: pod.update(terminationGracePeriodSeconds=25),
    ),
    "a worker without a probe": (WORKER, lambda pod: pod["containers"][0].pop("livenessProbe")),
    "a misspelt setting": (CONFIG, lambda data: data.update(ALLOWED_HOST="x")),
    "a secret in the ConfigMap": (CONFIG, lambda data: data.update(REDIS_URL="redis://:x@y/0")),
    "several processes a pod, asked by Prometheus": (
        CONFIG,
        lambda data: data.update(WEB_CONCURRENCY="4"),
    ),
    "a Service of nothing": (at("Service app", "spec"), lambda s: s.update(selector={"app": "x"})),
    "an autoscaler of nothing": (
        at("HorizontalPodAutoscaler", "spec"),
        lambda s: s["scaleTargetRef"].update(name="api"),
    ),
    "an open network": (
        at("NetworkPolicy default-deny", "spec"),
        lambda s: s.update(policyTypes=["Ingress"]),
    ),
    "an ingress rule that names nobody": (
        at("NetworkPolicy metrics", "spec", "ingress", 0),
        lambda rule: rule.pop("from"),
    ),
    "an ingress rule with an empty list": (
        at("NetworkPolicy metrics", "spec", "ingress", 0),
        lambda rule: rule.update({"from": []}),
    ),
    "a first container of two with capabilities": (
        APP,
        lambda pod: pod["containers"].append(beside(pod["containers"][0]))
        or pod["containers"][0]["securityContext"].pop("capabilities"),
    ),
    "a container before the others without a limit": (
        APP,
        lambda pod: pod.update(initContainers=[beside(pod["containers"][0], resources={})]),
    ),
    "a secret without a lock": (
        CONTAINER,
        lambda c: c["volumeMounts"][0].pop("readOnly"),
    ),
    "a host that is not served": (
        at("Ingress app", "spec"),
        lambda s: s["rules"][0].update(host="www.example.com"),
    ),
    "an old API version": (
        at("HorizontalPodAutoscaler"),
        lambda d: d.update(apiVersion="autoscaling/v2beta2"),
    ),
    "pods that go before others are ready": (
        at("Deployment app", "spec", "strategy", "rollingUpdate"),
        lambda s: s.update(maxUnavailable=1),
    ),
}


def overlooked(documents: list[Document]) -> list[str]:
    """The names of those that neither schema nor rules have found. An error in a rule finds nothing: it is raised."""
    found = []
    for name, (find, spoil) in BROKEN.items():
        copy = deepcopy(documents)
        spoil(find(copy))
        if not problems(copy):
            found.append(name)
    return found
