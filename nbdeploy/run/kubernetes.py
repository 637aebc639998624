"""A version as plain Kubernetes manifests: made as data, dumped as YAML, nothing of a model's own text but its name."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.bento import dump
from nbdeploy.keep.handout import hand_out
from nbdeploy.run import elsewhere
from nbdeploy.run.image import USER
from nbdeploy.runtime.listener import PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings

    Document = dict[str, Any]

PRE_STOP = 10  # seconds: until every node has heard that this pod is to be asked nothing more
STARTUP = 2  # seconds between two looks whether it is ready yet
OWN = "io.nbdeploy/"  # annotations and labels of ours
CALLER = f"{OWN}caller"  # a namespace with this label may call
SECRET = "secret.example"  # noqa: S105 - not .yaml: `kubectl apply -f DIR` passes it by


@dataclass(frozen=True)
class Subject:
    """What the manifests are about. `name` is the one Kubernetes takes; `memory` is in MiB."""

    version: Version
    image: str
    memory: int
    settings: Settings

    @property
    def name(self) -> str:
        return elsewhere.dns_name(self.version.name)

    @property
    def selector(self) -> dict[str, str]:
        """Never changed: a Deployment's selector cannot be."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/component": "model"}

    @property
    def labels(self) -> dict[str, str]:
        more = {"app.kubernetes.io/version": self.version.version, "app.kubernetes.io/managed-by": "nbdeploy"}
        return {**self.selector, **more}

    @property
    def identity(self) -> dict[str, str]:
        told = {"name": self.version.name, "version": self.version.version, "digest": self.version.digest}
        return {f"{OWN}{key}": value for key, value in told.items()}

    @property
    def annotations(self) -> dict[str, str]:
        """Not those of pods: a later judgement replaces none."""
        return {**self.identity, f"{OWN}gate": self.version.gate}

    def volume(self, kind: str) -> str:
        """A label of at most 63 characters. podman keeps volumes by name alone, so that it bears the service's."""
        return f"{self.name[:58].rstrip('-')}-{kind}"

    def document(self, api: str, kind: str, name: str, **content: Any) -> Document:
        about = {"name": name, "labels": self.labels, "annotations": self.annotations}
        return {"apiVersion": api, "kind": kind, "metadata": about, **content}


def write(
    version: Version, folder: Path, image: str | None, settings: Settings, progress: Callable[[str], None]
) -> Path:
    """The manifests, one a file, and how to apply them.

    Raises:
        What `elsewhere.image_and_memory` and `hand_out` do.
    """
    line = f"export {version.tag} --kubernetes {folder}"
    subject = Subject(version, *elsewhere.image_and_memory(version, image, settings, line, progress), settings)

    def fill(draft: Path) -> None:
        for name, document in documents(subject).items():
            (draft / name).write_text(dump(document), encoding="utf-8")
        (draft / elsewhere.README).write_text(_readme(subject), encoding="utf-8")

    return hand_out(folder, f"exporting {version.tag}", fill)


def documents(subject: Subject) -> dict[str, Document]:
    """By file; in the order they are best applied."""
    made = {
        SECRET: secret,
        "configmap.yaml": configmap,
        "networkpolicy.yaml": networkpolicy,
        "deployment.yaml": deployment,
        "service.yaml": service,
        "horizontalpodautoscaler.yaml": autoscaler,
        "poddisruptionbudget.yaml": budget,
    }
    return {name: make(subject) for name, make in made.items()}


def secret(subject: Subject) -> Document:
    """Without a token, and refused by the service as it stands: the line that makes a real one is in the README."""
    return subject.document("v1", "Secret", f"{subject.name}-token", type="Opaque", stringData={"token": ""})


def configmap(subject: Subject) -> Document:
    # Pods are scraped by their addresses, and called by names that depend on the namespace; every caller needs the token.
    data = elsewhere.variables(subject.settings, hosts="*")
    return subject.document("v1", "ConfigMap", f"{subject.name}-config", data=data)


def deployment(subject: Subject) -> Document:
    template_ = {
        "metadata": {
            "labels": subject.labels,
            # Pods are replaced when what they are told changes, too.
            "annotations": {**subject.identity, f"{OWN}config": _hash(configmap(subject)["data"])},
        },
        "spec": _pod(subject),
    }
    spec = {
        # No number of replicas: the autoscaler has it.
        "selector": {"matchLabels": subject.selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": 5,
        "progressDeadlineSeconds": math.ceil(subject.settings.ready_timeout) + 180,
        "revisionHistoryLimit": 5,
        "template": template_,
    }
    return subject.document("apps/v1", "Deployment", subject.name, spec=spec)


def _pod(subject: Subject) -> Document:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": subject.selector},
    }
    user = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": PRE_STOP + elsewhere.grace(subject.settings),
        "securityContext": {"runAsNonRoot": True, **user, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [spread],
        "containers": [_container(subject)],
        "volumes": [
            # optional is said, though false is what it would be: podman 4.3 falls over its absence.
            {
                "name": "token",
                "secret": {"secretName": f"{subject.name}-token", "defaultMode": 0o440, "optional": False},
            },
            {"name": subject.volume("tmp"), "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": subject.volume("log"), "emptyDir": {}},
        ],
    }


def _container(subject: Subject) -> Document:
    own = {"exec": {"command": list(elsewhere.HEALTH)}}
    asked = {"httpGet": {"path": "/readyz", "port": PORT}}
    tries = math.ceil(subject.settings.ready_timeout / STARTUP) + 5
    megabytes = f"{subject.memory}Mi"
    return {
        "name": "model",
        "image": subject.image,
        "imagePullPolicy": "IfNotPresent",
        # Kubernetes publishes no port of the node; where `podman kube play` does, then on loopback alone.
        "ports": [{"name": "http", "containerPort": PORT, "hostIP": "127.0.0.1", "protocol": "TCP"}],
        "envFrom": [{"configMapRef": {"name": f"{subject.name}-config"}}],
        "resources": {"requests": {"cpu": "500m", "memory": megabytes}, "limits": {"memory": megabytes}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**own, "periodSeconds": STARTUP, "timeoutSeconds": 5, "failureThreshold": tries},
        "readinessProbe": {**asked, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": {**own, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
        # It goes on answering meanwhile; only then comes SIGTERM, and with it the drain.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP)]}}},
        "volumeMounts": [
            {"name": "token", "mountPath": elsewhere.TOKEN_FOLDER, "readOnly": True},
            {"name": subject.volume("tmp"), "mountPath": "/tmp"},  # noqa: S108 - inside the container
            {"name": subject.volume("log"), "mountPath": elsewhere.LOG_FOLDER},
        ],
    }


def service(subject: Subject) -> Document:
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    return subject.document(
        "v1", "Service", subject.name, spec={"type": "ClusterIP", "selector": subject.selector, "ports": [port]}
    )


def autoscaler(subject: Subject) -> Document:
    load = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": subject.name},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [load],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return subject.document("autoscaling/v2", "HorizontalPodAutoscaler", subject.name, spec=spec)


def budget(subject: Subject) -> Document:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": subject.selector}}
    return subject.document("policy/v1", "PodDisruptionBudget", subject.name, spec=spec)


def networkpolicy(subject: Subject) -> Document:
    """In from this namespace and those that bear our label; out to nowhere, which a model has no need of."""
    callers = [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {CALLER: "true"}}}]
    spec = {
        "podSelector": {"matchLabels": subject.selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": callers, "ports": [{"port": PORT, "protocol": "TCP"}]}],
        "egress": [],
    }
    return subject.document("networking.k8s.io/v1", "NetworkPolicy", subject.name, spec=spec)


def _hash(data: Document) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _readme(subject: Subject) -> str:
    return elsewhere.readme(
        "kubernetes",
        subject.version,
        subject.name,
        subject.image,
        CALLER=CALLER,
        MEMORY=f"{subject.memory}Mi",
        PRE_STOP=str(PRE_STOP),
        GRACE=str(PRE_STOP + elsewhere.grace(subject.settings)),
        LOG=elsewhere.LOG_FOLDER,
    )
