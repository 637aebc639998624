"""What `export` writes, run with podman: the manifests by `kube play`, a rollout of them under load, the Compose file's service."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest
import yaml
from boxes import HERE, Box, box, missing, podman, until
from load import Load
from rules import SAMPLE, Scaled

from nbdeploy.run.client import Client
from nbdeploy.run.elsewhere import LOG_FOLDER
from nbdeploy.runtime.records import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.containers]

TOKEN = secrets.token_urlsafe(16)
ROWS = SAMPLE.tolist()
BODY = json.dumps({"rows": ROWS[:1]}).encode()
CLIENTS = 4


@dataclass
class World:
    box: Box
    images: dict[str, str]  # by version
    local: list[Any]  # what version 1.0.0 answers under the local launcher

    def exported(self, folder: Path, version: str, kind: str) -> Path:
        place: Any = {kind: folder}
        return self.box.workspace.export(self.box.name, version, image=self.images[version], **place)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    why = missing()
    if why is not None:
        pytest.skip(why)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(HERE / "containers.conf"))
        with box(tmp_path_factory.mktemp("elsewhere"), "LABEL") as made:
            images = {}
            for version, factor in (("1.0.0", 2.0), ("1.0.1", 3.0)):
                made.workspace.publish(made.workspace.bundle(Scaled(factor), name=made.name, sample=SAMPLE))
                made.made.append(f"localhost/nbdeploy-test/{made.name}:{version}")
                images[version] = made.workspace.image(made.name, version, tag=made.made[-1:]).reference
            known = json.loads(podman("image", "inspect", images["1.0.0"]))[0]["Config"]
            assert "test" not in known["Labels"], "a setting of the base"
            service = made.workspace.serve(made.name, version="1.0.0", launcher="local")
            local = service.predict(SAMPLE).tolist()
            made.workspace.stop(made.name)
            yield World(made, images, local)


class Pod:
    """What `podman kube play` makes of exported manifests; its name, port and volumes are its own, as in a cluster."""

    def __init__(self, world: World, folder: Path, version: str) -> None:
        self._folder = world.exported(folder / version, version, "kubernetes")
        self.port = _free_port()
        self.deployment = self._document("deployment.yaml")
        self._name = self.deployment["metadata"]["name"] + version.replace(".", "-")
        self.container = f"{self._name}-pod-0-model"
        self.template = self.deployment["spec"]["template"]
        self.model = self.template["spec"]["containers"][0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = folder / f"{version}.yaml"

    def play(self, *more: Any) -> None:
        self.deployment["metadata"]["name"] = self._name
        self.model["ports"][0]["hostPort"] = self.port
        for item in (*self.template["spec"]["volumes"][1:], *self.model["volumeMounts"][1:]):
            item["name"] = f"{self._name}-{item['name'][-3:]}"
        documents = [*more, self._document("configmap.yaml"), self.deployment]
        self.file.write_text(yaml.safe_dump_all(documents))
        podman("kube", "play", str(self.file))
        health = ["podman", "exec", self.container, *self.model["startupProbe"]["exec"]["command"]]
        until(
            lambda: subprocess.run(health, check=False, capture_output=True).returncode == 0,
            "the startup probe never succeeded",
        )

    def secret(self) -> Any:
        """The example, with a token."""
        found = self._document("secret.example")
        del found["stringData"]
        return {**found, "data": {"token": base64.b64encode(TOKEN.encode()).decode()}}

    def token(self) -> str:
        """As podman 4.3 mounts it, what stands in `data`; as later ones and Kubernetes do, what that stands for."""
        held = podman("exec", self.container, "cat", f"{self.model['volumeMounts'][0]['mountPath']}/token")
        assert held in {TOKEN, base64.b64encode(TOKEN.encode()).decode()}
        return held

    def down(self) -> None:
        subprocess.run(["podman", "kube", "down", str(self.file)], capture_output=True, check=False)

    def _document(self, name: str) -> Any:
        return yaml.safe_load((self._folder / name).read_text())


@pytest.fixture
def pods(world: World, tmp_path: Path) -> Iterator[tuple[Pod, Pod]]:
    """Of either version; neither is played yet."""
    made = (Pod(world, tmp_path, "1.0.0"), Pod(world, tmp_path, "1.0.1"))
    secret = made[0].secret()["metadata"]["name"]
    try:
        yield made
    finally:
        for pod in made:
            pod.down()
        for words in (("secret", "rm"), ("volume", "rm", "--force")):
            subprocess.run(["podman", *words, secret], capture_output=True, check=False)


def test_manifests_answer_as_the_local_service_under_all_they_forbid(world: World, pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    pod.play(pod.secret())
    token = pod.token()
    with contextlib.closing(Client(pod.url, token=token)) as client:
        assert client.predictions("predict", ROWS) == world.local
    name = pod.container
    assert podman("exec", name, "id", "-u") == "10001"
    assert podman("exec", name, "sh", "-c", "touch /x 2>/dev/null || echo refused") == "refused"
    status = podman("exec", name, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    told = podman("inspect", name) + podman("logs", name)
    assert token not in told
    assert TOKEN not in told
    listening = {each.laddr.ip for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == pod.port}
    assert listening == {"127.0.0.1"}
    assert f"{SUFFIX}\n" in podman("exec", name, "ls", "-R", LOG_FOLDER) + "\n"


def test_a_rollout_loses_no_request(pods: tuple[Pod, Pod]) -> None:
    """The kubelet's part is played by hand: ready, then asked; asked no more, preStop, SIGTERM."""
    old, new = pods
    old.play(old.secret())
    with Address(old.port) as address, contextlib.ExitStack() as stack:
        loads = [
            stack.enter_context(
                Load(address.url, clients=CLIENTS, keep_alive=kept, body=BODY, token=old.token(), limit=120.0)
            )
            for kept in (True, False)
        ]
        until(lambda: all(load.tally.versions["1.0.0"] for load in loads), "the old version answers nobody")
        new.play()
        address.target = new.port
        preparing = old.model["lifecycle"]["preStop"]["exec"]["command"]
        podman("exec", old.container, *preparing)
        grace = old.template["spec"]["terminationGracePeriodSeconds"] - int(preparing[-1])
        podman("stop", "--time", str(grace), old.container)
        assert podman("inspect", "--format", "{{.State.ExitCode}}", old.container) == "0"
        seen = [load.tally.answered for load in loads]
        until(
            lambda: all(load.tally.answered > before for load, before in zip(loads, seen, strict=True)),
            "the new version answers nobody",
        )
    for load in loads:
        assert (load.tally.lost, load.tally.refused) == ([], {})
        assert set(load.tally.versions) == {"1.0.0", "1.0.1"}


def test_the_compose_file_starts_the_service(world: World, tmp_path: Path) -> None:
    folder = world.exported(tmp_path / "compose", "1.0.0", "compose")
    file = folder / "compose.yaml"
    document = yaml.safe_load(file.read_text())
    port = _free_port()
    model = document["services"][world.box.name]
    model["ports"] = [f"127.0.0.1:{port}:3000"]
    file.write_text(yaml.safe_dump(document))
    (folder / "secrets").mkdir(mode=0o700)
    for name in document["secrets"]:
        (folder / "secrets" / name).write_text(f"{TOKEN}\n")
        (folder / "secrets" / name).chmod(0o644)
    compose = [str(Path(sys.executable).with_name("podman-compose")), "--file", str(file)]
    try:
        subprocess.run([*compose, "up", "--detach", world.box.name], check=True, capture_output=True)
        name = podman("ps", "--quiet", "--filter", f"label=io.nbdeploy.digest={model['labels']['io.nbdeploy.digest']}")
        health = ["podman", "exec", name, *model["healthcheck"]["test"][1:]]
        until(
            lambda: subprocess.run(health, check=False, capture_output=True).returncode == 0,
            "the health check never succeeded",
        )
        with contextlib.closing(Client(f"http://127.0.0.1:{port}", token=TOKEN)) as client:
            assert client.predictions("predict", ROWS) == world.local
        assert podman("exec", name, "sh", "-c", "touch /x 2>/dev/null || echo refused") == "refused"
        assert TOKEN not in podman("inspect", name) + podman("logs", name)
        address = f"http://{world.box.name}:3000/metrics"  # as Prometheus asks, from inside the network
        asked = (
            "import sys, urllib.request as r; "
            f"q = r.Request('{address}', headers={{'Authorization': 'Bearer ' + open('/run/secrets/nbdeploy/token').read().strip()}}); "
            "print(r.urlopen(q).status)"
        )
        assert podman("exec", name, "python", "-c", asked) == "200"
    finally:
        subprocess.run([*compose, "down", "--volumes"], check=False, capture_output=True)


class Address:
    """A Service's stable address: a connection goes to what is the target when it is made, and stays there."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(_pour(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until the one side ends, and then that end too."""
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # the other direction ends with it
    finally:
        sink.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
