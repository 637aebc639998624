"""Images and the container launcher with real containers: built from nothing, asked, redeployed, killed, searched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from boxes import HERE, Box, box, missing, podman, until
from load import Load
from rules import SAMPLE, Scaled

from nbdeploy.errors import CallRefused
from nbdeploy.run import tokens
from nbdeploy.run.client import Client
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.run.image import Image
    from nbdeploy.run.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.containers]

SECRET = "planted-7c1e0b5d"
REDEPLOYS = 10
TOOLS = ("gcc", "cc", "g++", "make", "ld", "as", "pip", "apt", "apt-get", "dpkg", "perl", "git")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    why = missing()
    if why is not None:
        pytest.skip(why)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(HERE / "containers.conf"))
        patch.setenv("PLANTED", SECRET)
        with box(tmp_path_factory.mktemp("box")) as made:
            yield made


@pytest.fixture(scope="module")
def image(world: Box) -> Image:
    """Of the first version; nothing but the base image was there before."""
    world.workspace.publish(world.workspace.bundle(Scaled(2.0), name=world.name, sample=SAMPLE))
    world.made.append(f"localhost/nbdeploy-test/{world.name}:1.0.0")
    made = world.workspace.image(world.name, "1.0.0", tag=world.made[-1:])
    assert not made.reused
    return made


def test_an_image_answers_hardened_and_healthy(image: Image, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    token.chmod(0o444)
    hard = [
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--network",
        "bridge",
    ]
    mount = ["-v", f"{token}:/run/token:ro", "-e", "NBDEPLOY_TOKEN_FILE=/run/token"]
    name = podman("run", "--detach", "--no-healthcheck", "--publish", "127.0.0.1::3000", *hard, *mount, image.reference)
    try:
        url = f"http://{podman('port', name, '3000/tcp')}"
        health = ["podman", "exec", name, "python", "-I", "-S", "/bundle/src/nbdeploy_runtime/health.py"]
        until(lambda: subprocess.run(health, check=False).returncode == 0, podman("logs", name))
        with closing(Client(url, token="a-token")) as client:
            told = client.predictions("predict", SAMPLE.tolist())
        np.testing.assert_allclose(told, Scaled(2.0).predict(SAMPLE))
        assert podman("exec", name, "id", "-u") == "10001"
        found = podman("exec", name, "sh", "-c", f"for tool in {' '.join(TOOLS)}; do command -v $tool; done; true")
        assert found == ""
        assert podman("exec", name, "sh", "-c", "touch /x 2>/dev/null || echo refused") == "refused"
        bytecode = "import json, numpy; print(json.__cached__, numpy.__cached__)"
        cached = podman("exec", name, "python", "-c", bytecode).split()
        assert set(podman("exec", name, "ls", *cached).split()) == set(cached)  # no start compiles them
        assert "nbdeploy\n" not in podman("exec", name, "ls", "/opt/venv/lib/python3.11/site-packages") + "\n"
        podman("stop", "--time", "20", name)
        assert podman("inspect", "--format", "{{.State.ExitCode}}", name) == "0"
    finally:
        podman("rm", "--force", name)


def test_an_image_says_what_it_is_and_what_is_in_it(image: Image) -> None:
    known = json.loads(podman("image", "inspect", image.reference))[0]["Config"]
    labels = known["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.0.0"
    assert labels["org.opencontainers.image.title"] == image.name
    assert (labels["io.nbdeploy.digest"], labels["io.nbdeploy.gate"]) == (image.digest, "none")
    assert known["User"] == "10001:10001"
    assert [item for item in known["Env"] if item.startswith("test=")] == [], "a setting of the base"
    assert known.get("Cmd") is None
    inside = podman(
        "run", "--rm", "--entrypoint", "cat", image.reference, "/bundle/sbom.cdx.json", "/opt/venv/requirements.lock"
    )
    assert inside == image.sbom.read_text() + image.lock.read_text().rstrip("\n")
    assert image.lock.read_text().count("--hash=sha256:") >= image.packages
    installed = podman("run", "--rm", "--entrypoint", "ls", image.reference, "/opt/venv/lib/python3.11/site-packages")
    assert sum(line.endswith(".dist-info") for line in installed.splitlines()) == image.packages


def test_a_retrained_model_rewrites_one_layer(world: Box, image: Image) -> None:
    world.workspace.publish(world.workspace.bundle(Scaled(2.5), name=world.name, sample=SAMPLE))
    world.made.append(f"localhost/nbdeploy-test/{world.name}:1.0.1")
    again = world.workspace.image(world.name, "1.0.1", tag=world.made[-1:])
    old, new = (
        json.loads(podman("image", "inspect", item.reference))[0]["RootFS"]["Layers"] for item in (image, again)
    )
    assert again.reused
    assert old[:-1] == new[:-1]
    assert old[-1] != new[-1]


@pytest.fixture(scope="module")
def service(world: Box, image: Image) -> Service:
    del image  # that of the lock is there
    return world.workspace.deploy(Scaled(3.0), name=world.name, sample=SAMPLE, launcher="container", env=["PLANTED"])


def running(world: Box) -> dict[str, Any]:
    """The one container of the service."""
    (found,) = [item for item in world.containers(world.name) if item["State"]["Running"]]
    return found


def ready(world: Box) -> bool:
    return next(state for state in world.workspace.services(all=True) if state.name == world.name).state == "ready"


def test_a_container_serves_as_a_local_service_does(world: Box, service: Service) -> None:
    np.testing.assert_allclose(service.predict(SAMPLE), Scaled(3.0).predict(SAMPLE))
    (state,) = world.workspace.services()
    assert (state.name, state.state, state.launcher, state.url) == (world.name, "ready", "container", service.url)
    attached = world.workspace.attach(world.name)
    assert attached.launcher == "container"
    assert attached.token_file == service.folder / tokens.FILE
    assert len(service.predictions().frame()) == len(SAMPLE)
    assert any("serves at" in line for line in service.logs())
    with closing(Client(service.url, token="wrong")) as stranger, pytest.raises(CallRefused, match="401"):
        stranger.predictions("predict", SAMPLE.tolist())


def test_it_may_do_next_to_nothing_and_listens_on_loopback_alone(world: Box, service: Service) -> None:
    known = running(world)
    host = known["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert known["EffectiveCaps"] in (None, [])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert host["Memory"] == 2 << 30
    assert host["PidsLimit"] == 512
    assert known["Config"]["User"] == "10001:10001"
    published = [item for ports in known["NetworkSettings"]["Ports"].values() for item in ports]
    assert {item["HostIp"] for item in published} == {"127.0.0.1"}
    ports = {int(item["HostPort"]) for item in published} | {int(service.url.rpartition(":")[2])}
    heard = [item.laddr for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN and item.laddr]
    assert {address.ip for address in heard if address.port in ports} == {"127.0.0.1"}
    assert {mount["Destination"] for mount in known["Mounts"]} == {"/service/predictions", "/service/feedback"}


def test_ten_redeploys_under_load_lose_nothing_and_rollback_neither(world: Box, service: Service) -> None:
    body, token = json.dumps({"rows": SAMPLE[:1].tolist()}).encode(), tokens.read(service.folder, world.name)
    kinds: dict[str, Any] = {"clients": 2, "body": body, "token": token, "limit": 280.0}
    with Load(service.url, keep_alive=True, **kinds) as kept, Load(service.url, keep_alive=False, **kinds) as each:
        for number in range(REDEPLOYS):
            last = world.workspace.deploy(Scaled(10.0 + number), name=world.name, sample=SAMPLE)
            assert last.url == service.url
        np.testing.assert_allclose(last.predict(SAMPLE), Scaled(9.0 + REDEPLOYS).predict(SAMPLE))
        back = world.workspace.rollback(world.name)
        np.testing.assert_allclose(back.predict(SAMPLE), Scaled(8.0 + REDEPLOYS).predict(SAMPLE))
    for load in (kept, each):
        assert (load.tally.lost, load.tally.refused) == ([], {})
        assert load.tally.answered > REDEPLOYS
    assert len(each.tally.versions) == REDEPLOYS + 1
    until(lambda: len(world.containers(world.name)) == 1, "the old containers are gone")


@pytest.mark.parametrize("killed", ["Pid", "ConmonPid"])
def test_a_container_whose_process_or_monitor_is_killed_is_replaced(world: Box, service: Service, killed: str) -> None:
    known = running(world)
    os.kill(known["State"][killed], signal.SIGKILL)
    until(lambda: not ready(world), "nobody noticed")
    until(lambda: ready(world), "it was not replaced")
    assert running(world)["Id"] != known["Id"]
    assert len(world.workspace.attach(world.name).predict(SAMPLE)) == len(SAMPLE)
    until(lambda: len(world.containers(world.name)) == 1, "the old one is still there")


def test_without_its_supervisor_a_container_ends_and_serve_starts_it_again(world: Box, service: Service) -> None:
    state = State.read(service.folder)
    assert state is not None
    assert state.process.signal(signal.SIGKILL)
    until(
        lambda: not [item for item in world.containers(world.name) if item["State"]["Running"]],
        "the container lives on",
    )
    (shown,) = world.workspace.services()
    assert shown.state == "dead"
    again = world.workspace.serve(world.name)
    assert again.url == service.url
    assert len(again.predict(SAMPLE)) == len(SAMPLE)


def test_a_secret_reaches_the_worker_and_is_in_no_layer_no_inspect_no_log(
    world: Box, service: Service, tmp_path: Path
) -> None:
    known = running(world)
    seen = podman(
        "exec", known["Id"], "sh", "-c", f"cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c {SECRET} || true"
    )
    assert int(seen) >= 1
    token = tokens.read(service.folder, world.name)
    secrets = [SECRET.encode(), token.encode(), tokens.sha256(token).encode()]
    podman("save", "--output", str(tmp_path / "image.tar"), known["ImageName"])
    places = {"image": (tmp_path / "image.tar").read_bytes(), "inspect": podman("inspect", known["Id"]).encode()}
    places["image inspect"] = podman("image", "inspect", known["ImageName"]).encode()
    with tarfile.open(tmp_path / "image.tar") as saved:
        places |= {item.name: saved.extractfile(item).read() for item in saved if item.isreg()}  # type: ignore[union-attr]
    places |= {str(path): path.read_bytes() for path in service.folder.glob("*.log*")}
    places["state"] = (service.folder / "state.json").read_bytes()
    assert len(places) > 6
    assert [name for name, content in places.items() for secret in secrets if secret in content] == []


def test_stop_leaves_nothing_of_ours_and_touches_nothing_else(world: Box, service: Service) -> None:
    other = podman(
        "create", "--label", f"io.nbdeploy.name={world.name}", "--label", "io.nbdeploy.home=another", world.base, "true"
    )
    try:
        world.workspace.stop(world.name)
        assert [item["Id"] for item in world.containers(world.name)] == [other]
        assert len(world.workspace.services()) == 0
    finally:
        podman("rm", other)
