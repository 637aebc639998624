"""The fake backend that ships: the same application, in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from nbdeploy.capture.bundle import Model, stage
from nbdeploy.errors import CallRefused, NotReady, NotRunning, Unreachable
from nbdeploy.run import memory
from nbdeploy.run.client import Client
from nbdeploy.run.launcher import Launch
from nbdeploy.run.memory import MemoryLauncher
from nbdeploy.run.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.bundle import Bundle

SAMPLE = pd.DataFrame({"age": [20.0, 30, 40, 50] * 5, "size": [1.0, 2, 3, 4] * 5})
TARGET = np.array(["no", "no", "yes", "yes"] * 5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    model = LogisticRegression().fit(SAMPLE, TARGET)
    return stage(Model(model, "people", SAMPLE, TARGET), tmp_path_factory.mktemp("bundles"), None)


@pytest.fixture
def launch(bundle: Bundle, tmp_path: Path) -> Iterator[Launch]:
    folder = tmp_path / "services" / "people"
    yield Launch(
        name="people",
        bundle=bundle.folder,
        digest=bundle.digest,
        python=Path("python"),
        folder=folder,
        registry=tmp_path / "registry.db",
    )
    if MemoryLauncher().state(folder).state != "stopped":
        MemoryLauncher().stop("people", folder)


def silent(_: str) -> None:
    pass


def serve(launch: Launch, version: str = "1.0.0") -> str:
    return MemoryLauncher().prepare(launch, silent).activate(version, launch.bundle)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("nbdeploy-")}


def test_a_service_answers_as_the_kernel(launch: Launch, bundle: Bundle) -> None:
    client = Client(serve(launch), manifest=bundle.manifest)
    model = LogisticRegression().fit(SAMPLE, TARGET)
    np.testing.assert_array_equal(client.call("predict", SAMPLE), model.predict(SAMPLE))
    np.testing.assert_allclose(client.call("predict_proba", SAMPLE), model.predict_proba(SAMPLE), rtol=1e-9)


def test_it_says_who_it_is_and_logs(launch: Launch, bundle: Bundle) -> None:
    client = Client(serve(launch, "3.1.0"))
    assert client.readiness()["version"] == "3.1.0"
    client.call("predict", SAMPLE[:2])
    [record] = Predictions(launch.folder / "predictions")
    assert (record.version, len(record.rows)) == ("3.1.0", 2)


def test_a_candidate_answers_beside_the_live_one_and_leaves_no_record(launch: Launch) -> None:
    url = serve(launch)
    candidate = MemoryLauncher().prepare(launch, silent)
    assert candidate.url != url
    assert Client(candidate.url).call("predict", SAMPLE[:1]).tolist() == ["no"]
    assert Client(candidate.url).readiness()["version"].startswith("sha256:")
    assert list(Predictions(launch.folder / "predictions")) == []
    candidate.discard()
    candidate.discard()
    with pytest.raises(Unreachable):
        Client(candidate.url).readiness()
    assert Client(url).readiness()["version"] == "1.0.0"


def test_f35_no_request_fails_while_versions_change(launch: Launch) -> None:
    url = serve(launch, "1.0.0")
    seen: list[str] = []
    failed: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        client = Client(url)
        body = json.dumps({"rows": [{"age": 20, "size": 1}]}).encode()
        while not stop.is_set():
            try:
                seen.append(client.post("/predict", body)["version"])
            except Exception as exc:  # noqa: BLE001  # whatever it was, it is what this test looks for
                failed.append(exc)

    workers = [threading.Thread(target=ask) for _ in range(3)]
    for worker in workers:
        worker.start()
    for number in range(1, 6):
        serve(launch, f"1.0.{number}")
        before = len(seen)
        while len(seen) < before + 10 and not failed:
            stop.wait(0.01)
    stop.set()
    for worker in workers:
        worker.join()
    assert not failed
    assert {f"1.0.{number}" for number in range(1, 6)} <= set(seen)
    assert len(threads()) == 1


def test_stop_leaves_nothing(launch: Launch) -> None:
    url = serve(launch)
    launcher = MemoryLauncher()
    assert launcher.state(launch.folder).state == "ready"
    assert [state.name for state in memory.states(launch.folder.parent)] == ["people"]
    assert threads() == {"nbdeploy-people"}
    launcher.stop("people", launch.folder)
    assert launcher.state(launch.folder).state == "stopped"
    assert memory.states(launch.folder.parent) == []
    assert threads() == set()
    with pytest.raises(Unreachable):
        Client(url).readiness()
    with pytest.raises(NotRunning):
        launcher.stop("people", launch.folder)


def test_f66_stop_works_where_a_loop_is_running(launch: Launch) -> None:
    """As in every kernel."""
    serve(launch)

    async def cell() -> None:
        MemoryLauncher().stop("people", launch.folder)

    asyncio.run(cell())
    assert MemoryLauncher().state(launch.folder).state == "stopped"
    assert not any(thread.name == "nbdeploy-people" for thread in threading.enumerate())


def test_the_gate_holds_here_too(launch: Launch) -> None:
    url = serve(replace(launch, token_sha256="0" * 64))
    with pytest.raises(CallRefused) as caught:
        Client(url, token="wrong").metadata()
    assert caught.value.status == 401


def test_a_bundle_that_was_altered_never_serves(launch: Launch, bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    (copy / "src" / bundle.manifest.artefact).write_bytes(b"nothing")
    url = serve(launch)
    with pytest.raises(NotReady, match="changed"):
        MemoryLauncher().prepare(replace(launch, bundle=copy), silent)
    assert Client(url).readiness()["version"] == "1.0.0"


def test_a_model_that_answers_otherwise_never_serves(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbdeploy.runtime.model import ServedModel

    monkeypatch.setattr(ServedModel, "verify", lambda _: ["predict, golden rows, row 0: 'no' became 'yes'"])
    with pytest.raises(NotReady, match="'no' became 'yes'"):
        MemoryLauncher().prepare(launch, silent)
    assert threads() == set()
