"""Labels and a real service: nothing that was acknowledged is lost, whoever writes, and the numbers are the kernel's."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import psutil
import pytest
from livemetrics import live
from models import plain
from sklearn import metrics

from nbdeploy.cli import main
from nbdeploy.errors import CallRefused, Unsupported, WrongUse
from nbdeploy.run.client import Client
from nbdeploy.run.feedback import Feedback
from nbdeploy.runtime.state import State
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.run.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("feedback")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBDEPLOY_HOME", str(home / "nbdeploy"))
        patch.setenv("BENTOML_HOME", str(home / "bentoml"))
        made = Workspace(Settings.load(home))
        fitted = plain()
        made.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y, keys=["ring"], workers=2)
        try:
            yield made
        finally:
            made.stop("penguins")


@pytest.fixture
def service(workspace: Workspace) -> Service:
    return workspace.attach("penguins")


@pytest.fixture(autouse=True)
def _this_home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes that a test starts."""
    monkeypatch.setenv("NBDEPLOY_HOME", str(workspace.settings.home))
    monkeypatch.setenv("BENTOML_HOME", str(workspace.settings.bentoml_home))


def feedback(service: Service) -> Feedback:
    return Feedback(service.folder / "feedback")


def asked(service: Service, rows: pd.DataFrame) -> str:
    """The id of a request for the rows."""
    body = json.dumps({"rows": json.loads(rows.to_json(orient="records"))}).encode()
    return str(service.client.post("/predict", body)["request_id"])


def command(*words: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "nbdeploy", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_three_ways_in_and_the_kernels_own_numbers_out(workspace: Workspace, service: Service, tmp_path: Path) -> None:
    fitted = plain()
    rings = [f"{place:04d}" for place in range(len(fitted.X))]
    service.predict_proba(fitted.X.assign(ring=rings))
    truth = pd.Series(np.where(np.arange(len(fitted.y)) % 7 == 0, fitted.y.iloc[0], fitted.y))
    table = pd.DataFrame({"ring": rings, "species": truth})
    request = service.predictions().frame()["request_id"].iloc[-1]

    acknowledged = service.feedback(request, [*truth[:20], *[None] * (len(truth) - 20)])
    assert acknowledged.to_dict() == {"request_id": request, "accepted": 20, "empty": len(truth) - 20}
    told = workspace.feedback("penguins", table.iloc[20:60], on="ring")
    assert (told.matched, told.labelled) == (40, 60)
    table.iloc[40:].to_csv(tmp_path / "labels.csv", index=False)
    code, out, _ = command("feedback", "penguins", str(tmp_path / "labels.csv"), "--on", "ring", "--json")
    assert (code, json.loads(out)["kept"], json.loads(out)["repeated"]) == (0, len(table) - 60, 20)

    found = live(service.predictions(), feedback(service), "classification")
    (version,) = found.versions
    assert version.labelled == len(table)
    answers, shares = fitted.model.predict(fitted.X), fitted.model.predict_proba(fitted.X)
    accuracy = version.metrics["accuracy"]
    area = version.metrics["roc_auc"]
    assert str(accuracy).startswith(f"{metrics.accuracy_score(truth, answers):.4g} (")
    classes = fitted.model.classes_
    exact = (
        metrics.roc_auc_score(truth, shares, multi_class="ovr", labels=classes)
        if len(classes) > 2
        else metrics.roc_auc_score(truth, shares[:, 1])
    )
    assert str(area).startswith(f"{exact:.4g} (")


def test_the_command_says_what_is_wrong_and_exits_as_it_should(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> tuple[int, str]:
        code = main(["feedback", *words], lambda: workspace)
        said = capsys.readouterr()
        return code, said.out + said.err

    (tmp_path / "labels.csv").write_text("request_id,label\nnobody,heavy\n")
    code, said = told("penguins", str(tmp_path / "labels.csv"))
    assert (code, "of no request in the log" in said) == (0, True)
    (tmp_path / "other.csv").write_text("ring,weight,sex\n0001,heavy,male\n")
    code, said = told("penguins", str(tmp_path / "other.csv"))
    assert (code, "--on ring" in said) == (2, True)
    code, said = told("penguins", str(tmp_path / "other.csv"), "--on", "sex")
    assert (code, 'one called "label"' in said) == (2, True)
    assert told("penguins", str(tmp_path / "absent.csv"))[0] == 1
    assert told("nobody", str(tmp_path / "labels.csv"))[0] == 1
    assert told("penguins")[0] == 2


def test_labels_of_another_kind_are_refused_by_their_row(service: Service) -> None:
    with pytest.raises(CallRefused, match=r"row 1, column label: must be a text, as the model's labels are"):
        service.feedback("0123456789abcdef00000001", ["Gentoo", 3])
    with pytest.raises(WrongUse, match="are a list, one for each of its rows"):
        service.feedback("0123456789abcdef00000001", "Gentoo")
    assert service.feedback("0123456789abcdef00000001", np.array(["Gentoo", None])).to_dict()["empty"] == 1


def test_a_version_without_the_route_says_what_to_do(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(*_: Any) -> Any:
        raise CallRefused(404, "not_found", "There is no such route; GET /metadata lists them.")

    monkeypatch.setattr(Client, "post", older)
    with pytest.raises(Unsupported, match=r'bundled before services took any.*nbdeploy.feedback\("penguins", labels\)'):
        service.feedback("0123456789abcdef00000001", ["Gentoo"])


class Senders:
    """Clients on connections of their own that send one label after the other, and note what was acknowledged."""

    def __init__(self, service: Service, token: str, count: int) -> None:
        self.acknowledged: set[str] = set()
        self.others: list[Any] = []
        self.lost = 0
        self._port = int(service.url.rpartition(":")[2])
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(place,)) for place in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _send(self, place: int) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            name = f"sender-{id(self):x}-{place}-{number}"
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                body = json.dumps({"request_id": name, "labels": ["Gentoo", "Adelie"]})
                connection.request("POST", "/feedback", body, self._headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                self.lost += 1
            else:
                if answer.status == 200:
                    self.acknowledged.add(name)
                else:
                    self.others.append((answer.status, text))
            finally:
                connection.close()


def until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


def workers(service: Service) -> list[psutil.Process]:
    state = State.read(service.folder)
    assert state is not None
    return [item for item in psutil.Process(state.process.pid).children(recursive=True) if item.is_running()]


@pytest.mark.thorough
def test_f03_every_acknowledged_label_is_there_after_kill_9_of_workers(workspace: Workspace, service: Service) -> None:
    """While a second process and this one hand in tables as well."""
    script = (
        "import sys, pandas as pd, nbdeploy\n"
        "for part in range(10):\n"
        "    ids = [f'table-{part}-{place}' for place in range(50)]\n"
        "    nbdeploy.feedback('penguins', pd.DataFrame({'request_id': ids, 'label': ['heavy'] * 50}))\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script], env=os.environ.copy())
    with other, Senders(service, workspace.token("penguins"), 4) as senders:
        for killed in range(2):
            before = len(senders.acknowledged)
            until(lambda before=before: len(senders.acknowledged) > before + 50)
            victim = workers(service)[killed % 2]
            os.kill(victim.pid, signal.SIGKILL)
            workspace.feedback("penguins", pd.DataFrame({"request_id": [f"here-{killed}"], "label": ["heavy"]}))
            until(lambda: len(workers(service)) == 2 and service.state == "ready")
        before = len(senders.acknowledged)
        until(lambda: len(senders.acknowledged) > before + 50)
        assert other.wait(60) == 0
    assert senders.others == []
    reader = feedback(service)
    frame = reader.frame()
    assert reader.damaged == 0
    kept = frame.groupby("id")["label"].agg(list)
    assert senders.acknowledged <= set(kept.index), "an acknowledged label is lost"
    assert all(kept[name] == ["Gentoo", "Adelie"] for name in senders.acknowledged)
    assert {f"table-{part}-{place}" for part in range(10) for place in range(50)} <= set(kept.index)
    assert {"here-0", "here-1"} <= set(kept.index)


def test_labels_come_in_for_a_service_that_is_stopped_and_one_in_memory(settings: Settings) -> None:
    fitted = plain()
    workspace = Workspace(settings)
    service = workspace.deploy(fitted.model, name="small", sample=fitted.X, target=fitted.y, launcher="memory")
    request = asked(service, fitted.X.head(2))
    assert service.feedback(request, [fitted.y.iloc[0], None]).to_dict()["accepted"] == 1
    service.stop()
    told = workspace.feedback("small", {"request_id": [request], "row": [1], "label": [fitted.y.iloc[1]]})
    assert (told.matched, told.labelled, told.rows) == (1, 2, 2)
    trial = workspace.serve(workspace.bundle(fitted.model, name="tried", sample=fitted.X, target=fitted.y))
    tried = asked(trial, fitted.X.head(1))
    assert "rows they belong to  1" in str(
        trial.feedback(pd.DataFrame({"request_id": [tried], "label": [fitted.y.iloc[0]]}))
    )
    trial.stop()
