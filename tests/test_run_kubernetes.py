"""Manifests for Kubernetes: valid in every part, hardened, and with nothing in them but what they should name."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from keep_world import World, manifest

from nbdeploy.errors import Refused, WrongUse
from nbdeploy.keep.bento import dump
from nbdeploy.run import engine
from nbdeploy.run.elsewhere import dns_name
from nbdeploy.run.engine import Engine
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

pytestmark = pytest.mark.usefixtures("no_engine")

IMAGE = "registry.example.org/models/penguins:1.0.0"
KINDS = {
    "secret.example": "Secret",
    "configmap.yaml": "ConfigMap",
    "networkpolicy.yaml": "NetworkPolicy",
    "deployment.yaml": "Deployment",
    "service.yaml": "Service",
    "horizontalpodautoscaler.yaml": "HorizontalPodAutoscaler",
    "poddisruptionbudget.yaml": "PodDisruptionBudget",
}


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def exported(world: World, folder: Path, name: str = "penguins", image: str | None = IMAGE) -> dict[str, Any]:
    """The documents by file."""
    Workspace(world.settings).export(name, kubernetes=folder, image=image)
    return {path.name: yaml.safe_load(path.read_text()) for path in folder.iterdir() if path.name in KINDS}


def container(documents: dict[str, Any]) -> dict[str, Any]:
    return dict(documents["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize("name", ["penguins", "7_of_9", "a" * 63, "true"])
def test_every_manifest_is_valid_for_the_newest_kubernetes(world: World, tmp_path: Path, name: str) -> None:
    world.publish(manifest(name))
    documents = exported(world, tmp_path / "out", name)
    assert {file: document["kind"] for file, document in documents.items()} == KINDS
    for document in documents.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        assert document["metadata"]["annotations"]["io.nbdeploy/name"] == name


@pytest.mark.parametrize("text", ["1e5", "1234567890123e45", "1E+5", "0o17", "y", "N"])
def test_what_other_readers_of_yaml_take_for_no_text_is_quoted(text: str) -> None:
    assert dump({"key": text}) == f"key: '{text}'\n"
    assert dump({"key": f"{text}-config"}) == f"key: {text}-config\n"
    assert yaml.safe_load(dump({"key": 1e20})) == {"key": 1e20}


def test_names_labels_and_volumes_keep_to_what_kubernetes_allows(world: World, tmp_path: Path) -> None:
    assert [dns_name(text) for text in ("penguins", "a_b", "7b", "1" * 63)] == [
        "penguins",
        "a-b",
        "m-7b",
        "m-" + "1" * 61,
    ]
    world.publish(manifest("b_" + "c" * 61))
    documents = exported(world, tmp_path / "out", "b_" + "c" * 61)
    pod = documents["deployment.yaml"]["spec"]["template"]
    labels = [label for document in documents.values() for label in document["metadata"]["labels"].items()]
    short = [documents["service.yaml"]["metadata"]["name"], *(item["name"] for item in pod["spec"]["volumes"])]
    assert max(map(len, [*short, *(value for _, value in labels)])) <= 63
    assert all("_" not in document["metadata"]["name"] for document in documents.values())


def test_every_reference_from_one_manifest_to_another_leads_somewhere(world: World, tmp_path: Path) -> None:
    version = world.publish()
    documents = exported(world, tmp_path / "out")
    deployment = documents["deployment.yaml"]
    pod = deployment["spec"]["template"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert "app.kubernetes.io/version" not in selector
    assert documents["service.yaml"]["spec"]["selector"] == selector
    assert documents["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"] == selector
    assert documents["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"] == selector
    target = documents["horizontalpodautoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert container(documents)["envFrom"][0]["configMapRef"]["name"] == documents["configmap.yaml"]["metadata"]["name"]
    secret = pod["spec"]["volumes"][0]["secret"]["secretName"]
    assert secret == documents["secret.example"]["metadata"]["name"]
    mounts = {item["name"]: item["mountPath"] for item in container(documents)["volumeMounts"]}
    assert mounts.keys() == {item["name"] for item in pod["spec"]["volumes"]}
    assert documents["configmap.yaml"]["data"]["NBDEPLOY_TOKEN_FILE"] == f"{mounts['token']}/token"
    assert documents["configmap.yaml"]["data"]["NBDEPLOY_LOG_DIR"] in mounts.values()
    assert documents["service.yaml"]["spec"]["ports"][0]["targetPort"] == container(documents)["ports"][0]["name"]
    assert pod["metadata"]["annotations"]["io.nbdeploy/digest"] == version.digest
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"nbdeploy token penguins | kubectl create secret generic {secret} --from-file=token=/dev/stdin" in readme
    assert "@" not in readme


def test_a_pod_can_do_nothing_it_need_not(world: World, tmp_path: Path) -> None:
    world.publish()
    documents = exported(world, tmp_path / "out")
    pod = documents["deployment.yaml"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(documents)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPort" in port for port in container(documents)["ports"])
    assert documents["networkpolicy.yaml"]["spec"]["egress"] == []
    assert set(container(documents)["resources"]["limits"]) == {"memory"}


def test_a_rollout_has_time_for_what_was_asked(world: World, tmp_path: Path) -> None:
    world.publish()
    documents = exported(world, tmp_path / "out")
    spec = documents["deployment.yaml"]["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in spec, "the autoscaler has it"
    stop = container(documents)["lifecycle"]["preStop"]["exec"]["command"]
    assert stop[0] == "sleep"
    drain = float(documents["configmap.yaml"]["data"]["NBDEPLOY_DRAIN_TIMEOUT"])
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= float(stop[1]) + drain + 5
    startup = container(documents)["startupProbe"]
    ready = float(documents["configmap.yaml"]["data"]["NBDEPLOY_READY_TIMEOUT"])
    assert startup["periodSeconds"] * startup["failureThreshold"] > ready


def test_what_the_pods_are_told_replaces_them_and_a_judgement_does_not(world: World, tmp_path: Path) -> None:
    world.publish()

    def template(folder: str, **changes: Any) -> Any:
        from dataclasses import replace

        Workspace(replace(world.settings, **changes)).export("penguins", kubernetes=tmp_path / folder, image=IMAGE)
        document = yaml.safe_load((tmp_path / folder / "deployment.yaml").read_text())
        return document["spec"]["template"]["metadata"]

    first = template("first")
    world.registry.record("penguins", "validated", "1.0.0", report={"verdict": "refused"})
    assert template("judged") == first
    assert template("changed", max_rows=7) != first


def test_no_token_and_no_text_of_a_model_is_in_them(world: World, tmp_path: Path) -> None:
    """F54: a title may hold anything."""
    hostile = "x\n---\nkind: Canary\nmetadata: {name: '${IFS}$(touch /tmp/owned)'}"
    draft = manifest(model={"class": hostile, "task": "other"}, title=hostile, provenance={"notebook": hostile})
    world.publish(draft, by=hostile)
    documents = exported(world, tmp_path / "out")
    assert documents["secret.example"]["stringData"] == {"token": ""}
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "owned" not in written
    assert "Canary" not in written


WRONG = {
    None: "need the image of penguins:1.0.0",
    "penguins": "may be another image tomorrow",
    "penguins:latest": "may be another image tomorrow",
    "Penguins:1": "is no image reference",
    "penguins:1 --privileged": "is no image reference",
    "penguins:1\nx: y": "is no image reference",
    "https://registry/penguins:1": "is no image reference",
    "": "is no image reference",
}


@pytest.mark.parametrize(("image", "fact"), WRONG.items())
def test_an_image_that_is_none_or_may_change_is_refused(
    world: World, tmp_path: Path, image: str | None, fact: str
) -> None:
    world.publish()
    with pytest.raises(WrongUse, match=fact) as refused:
        exported(world, tmp_path / "out", image=image)
    words = shlex.split(str(refused.value).rpartition(": ")[2])
    assert words[:3] == ["export", "penguins:1.0.0", "--kubernetes"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("image", ["a/b:1", "localhost:5000/a_b:v1.2-rc", "a@sha256:" + "0" * 64])
def test_an_image_with_a_tag_or_a_digest_is_taken_as_it_is(world: World, tmp_path: Path, image: str) -> None:
    world.publish()
    assert container(exported(world, tmp_path / "out", image=image))["image"] == image


def test_the_next_version_replaces_manifests_nobody_touched(world: World, tmp_path: Path) -> None:
    world.publish()
    exported(world, tmp_path / "out")
    world.publish()
    documents = exported(world, tmp_path / "out", image=IMAGE.replace("1.0.0", "1.0.1"))
    assert documents["deployment.yaml"]["metadata"]["labels"]["app.kubernetes.io/version"] == "1.0.1"
    (tmp_path / "out" / "deployment.yaml").write_text("mine")
    with pytest.raises(Refused, match="changed since"):
        exported(world, tmp_path / "out")


def test_an_image_belongs_to_manifests_alone(world: World, tmp_path: Path) -> None:
    world.publish()
    with pytest.raises(WrongUse, match="--image belongs to --kubernetes DIR"):
        Workspace(world.settings).export("penguins", offline=tmp_path / "out", image=IMAGE)


@pytest.mark.parametrize(
    ("labels", "fact"),
    [
        ({}, "holds no version of nbdeploy's, not penguins:1.0.0"),
        (None, "holds no version of nbdeploy's, not penguins:1.0.0"),
        (
            {
                "io.nbdeploy.digest": "sha256:0",
                "org.opencontainers.image.title": "gulls",
                "org.opencontainers.image.version": "2.0.0",
            },
            "holds version 2.0.0 of gulls, not penguins:1.0.0",
        ),
    ],
)
def test_an_image_of_this_machine_must_hold_the_version(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str] | None, fact: str
) -> None:
    version = world.publish()
    held: dict[str, Any] = {"Config": {"Labels": labels}}
    monkeypatch.setattr(Engine, "image", lambda *_: held)
    monkeypatch.setattr(engine, "find", lambda _: Engine("podman", "podman"))
    with pytest.raises(Refused, match=fact):
        exported(world, tmp_path / "out")
    held["Config"]["Labels"] = {"io.nbdeploy.digest": version.digest}
    assert exported(world, tmp_path / "out")


def test_that_nobody_checked_an_image_is_said(world: World, tmp_path: Path) -> None:
    world.publish()
    said: list[str] = []
    Workspace(world.settings).export("penguins", kubernetes=tmp_path / "out", image=IMAGE, progress=said.append)
    assert said == [f"{IMAGE} is not on this machine: whether it holds penguins:1.0.0 was not checked"]
