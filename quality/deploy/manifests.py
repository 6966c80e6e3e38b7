"""Manifests as Kustomize renders them, what their schema says of them, and the rules that no schema knows."""

import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import yaml
from pydantic import ValidationError

from app.core.config import Settings
from app.core.settings.problems import describe
from app.core.settings.secret_files import secret_names
from quality.testkit.server import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
RENDERED = ("overlays/staging", "overlays/production", "migrate")
OLDEST = "1.34"
GRACEFUL_SECONDS = 25  # the image's --timeout-graceful-shutdown
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
MISSING = "kubectl is not installed: it renders the manifests (kubectl kustomize)."
KEY = "of-an-overlay-that-is-only-checked-4711"

Document = dict[str, Any]  # Any: what YAML may hold


def render(folder: str) -> list[Document]:
    """Exits where there is no kubectl. Raises ``CalledProcessError`` for what Kustomize refuses."""
    program = shutil.which("kubectl")
    if program is None:
        raise SystemExit(MISSING)
    command = [program, "kustomize", str(KUBERNETES / folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


def versions() -> tuple[str, str]:
    """The oldest version of Kubernetes that is promised, and the newest that is known."""
    return OLDEST, kubernetes_validate.latest_version()


def schema_problems(documents: list[Document]) -> Iterator[str]:
    for version in versions():
        for document in documents:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{named(document)}: {error.message} ({version})"
            except kubernetes_validate.SchemaNotFoundError:
                yield f"{named(document)}: {document['apiVersion']} is unknown ({version})"


def problems(documents: list[Document]) -> list[str]:
    """Rules read what the schema allows, and nothing else."""
    return [*schema_problems(documents)] or rule_problems(documents)


def rule_problems(documents: list[Document]) -> list[str]:
    """One sentence for each rule that is broken."""
    return list(
        chain(
            *(pod_problems(document, pod) for document, pod in pods(documents)),
            settings_problems(documents),
            scaling_problems(documents),
            network_problems(documents),
        )
    )


def named(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def pods(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    for document in documents:
        if template := document.get("spec", {}).get("template"):
            yield document, template


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def pod_problems(document: Document, template: Document) -> Iterator[str]:
    spec, name = template["spec"], named(document)
    user = spec.get("securityContext", {})
    rules = {
        "may run as root": user.get("runAsNonRoot") is True and user.get("runAsUser", 0) > 0,
        "has no seccomp profile": user.get("seccompProfile") == {"type": "RuntimeDefault"},
        "gets a token of the cluster": spec.get("automountServiceAccountToken") is False,
        "shares something with its host": not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(),
        "gets variables of services": spec.get("enableServiceLinks") is False,
    }
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for what, holds in container_rules(container).items():
            rules[what] = rules.get(what, True) and holds
    if document["kind"] == "Deployment":
        rules |= probe_rules(spec["containers"][0])
    yield from (f"{name} {what}" for what, holds in rules.items() if not holds)


def container_rules(container: Document) -> dict[str, bool]:
    context, sizes = container.get("securityContext", {}), container.get("resources", {})
    mounts = container.get("volumeMounts", [])
    secret = {name.upper() for name in secret_names(Settings.model_fields)}
    return {
        "is not named by digest": "@sha256:" in container["image"],
        "can write to its image": context.get("readOnlyRootFilesystem") is True,
        "may gain rights": context.get("allowPrivilegeEscalation") is False,
        "keeps capabilities": context.get("capabilities", {}).get("drop") == ["ALL"],
        "has no limit of memory": "memory" in sizes.get("limits", {}),
        "asks for no processor": "cpu" in sizes.get("requests", {}),
        "has a secret among its variables": not secret
        & {v["name"] for v in container.get("env", [])},
        "may change its secrets": all(m.get("readOnly") for m in mounts if m["name"] == "secrets"),
    }


def probe_rules(container: Document) -> dict[str, bool]:
    serves = any(port["name"] == "http" for port in container.get("ports", []))
    found = [container[name] for name in PROBES if name in container]
    return {
        "lacks a probe": len(found) == (len(PROBES) if serves else 1),
        "has no time for its readiness": not serves
        or container.get("readinessProbe", {}).get("timeoutSeconds", 1) >= 2,  # noqa: PLR2004
    }


def settings_problems(documents: list[Document]) -> Iterator[str]:
    """The settings start in production, and what elsewhere depends on them agrees with them."""
    for document in of_kind(documents, "Secret"):
        yield f"{named(document)} stands in the repository"
    for config in of_kind(documents, "ConfigMap"):
        given = {name.lower(): value for name, value in config["data"].items()}
        secrets = secret_names(Settings.model_fields)
        files = {f"{name}_file" for name in secrets} & given.keys()
        yield from (
            f"ConfigMap: {name.upper()} is no setting, or a secret"
            for name in given.keys() - files - (Settings.model_fields.keys() - {*secrets})
        )
        settings = {k: v for k, v in given.items() if k not in files} | {"jwt_secret_key": KEY}
        try:
            yield from probe_hosts(documents, Settings.model_validate(settings))
        except ValidationError as error:
            yield from (f"ConfigMap: {line}" for line in describe(error))


def probe_hosts(documents: list[Document], settings: Settings) -> Iterator[str]:
    for document, template in pods(documents):
        container, spec = template["spec"]["containers"][0], template["spec"]
        for name in PROBES:
            if "httpGet" in (probe := container.get(name, {})):
                headers = {h["name"]: h["value"] for h in probe["httpGet"].get("httpHeaders", [])}
                if headers.get("Host") not in settings.allowed_hosts:
                    yield f"{named(document)}: the {name} asks for a host that is not served"
        serves = "readinessProbe" in container
        drain = settings.drain_seconds or 0
        needs = drain + GRACEFUL_SECONDS if serves else settings.worker_drain_seconds
        if document["kind"] == "Deployment" and spec["terminationGracePeriodSeconds"] <= needs + 5:
            yield f"{named(document)} is killed before it has drained"
    for ingress in of_kind(documents, "Ingress"):
        hosts = {rule.get("host") for rule in ingress["spec"]["rules"]}
        if not hosts <= {*settings.allowed_hosts}:
            yield f"{named(ingress)} leads to a host that is not served"
        if hosts - {host for tls in ingress["spec"].get("tls", []) for host in tls["hosts"]}:
            yield f"{named(ingress)} has no certificate"


def scaling_problems(documents: list[Document]) -> Iterator[str]:
    deployments = {d["metadata"]["name"]: d for d in of_kind(documents, "Deployment")}
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if target not in deployments:
            yield f"{named(scaler)} scales nothing"
        elif "replicas" in deployments[target]["spec"]:
            yield f"Deployment {target} has replicas beside an autoscaler"
    for deployment in deployments.values():
        if deployment["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable", 0):
            yield f"{named(deployment)} takes a pod away before the new one is ready"


def network_problems(documents: list[Document]) -> Iterator[str]:
    labels = [pod["metadata"]["labels"] for _, pod in pods(documents)]
    for document in documents:
        spec = document.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        wanted = selector.get("matchLabels", selector if document["kind"] == "Service" else {})
        if wanted and not any(wanted.items() <= each.items() for each in labels):
            yield f"{named(document)} selects nothing"
    policies = of_kind(documents, "NetworkPolicy")
    if of_kind(documents, "Deployment"):
        closed = [p for p in policies if p["spec"] == CLOSED]
        if not closed:
            yield "no NetworkPolicy closes what is not listed"
        for policy in policies:
            if not all(rule.get("from") for rule in policy["spec"].get("ingress", [])):
                yield f"{named(policy)} lets everybody in"


CLOSED = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
