"""F06: what was answered is kept, whatever is killed and whenever."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from load import Load, Tally
from models import plain

from nbdeploy.run.predictions import Predictions
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.alone]
RESTART = 10.0  # seconds


class Acknowledged(Tally):
    """The request ids of all that was answered with 200."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def count(self, status: int, body: bytes, seen: list[str]) -> None:
        super().count(status, body, seen)
        if status == 200:
            self.ids.add(json.loads(body)["request_id"])


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    made = Workspace(settings)
    yield made
    for state in made.services():
        made.stop(state.name)


def kill_everything(workspace: Workspace) -> None:
    """The supervisor and its workers, in any order, as a machine that loses its power would not."""
    (state,) = workspace.services()
    assert state.pid is not None
    supervisor = psutil.Process(state.pid)
    everyone = [supervisor, *supervisor.children(recursive=True)]
    random.shuffle(everyone)
    for process in everyone:
        os.kill(process.pid, signal.SIGKILL)
    assert psutil.wait_procs(everyone, 10)[1] == []


def rounds(workspace: Workspace, count: int, chance: random.Random) -> int:
    """So many rounds of load, kill and restart; how many answers were acknowledged in all."""
    fitted = plain()
    service = workspace.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y, workers=2)
    body = json.dumps({"rows": json.loads(fitted.X.head(2).to_json(orient="records"))}).encode()
    token = workspace.token("penguins")
    acknowledged: set[str] = set()
    restarts = []
    for _ in range(count):
        load = Load(service.url, clients=8, keep_alive=True, body=body, token=token, limit=60)
        load.tally = tally = Acknowledged()
        with load:
            while len(tally.ids) < 50:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.5))
            kill_everything(workspace)
        assert not tally.refused
        acknowledged |= tally.ids
        begun = time.monotonic()
        again = workspace.serve("penguins")
        restarts.append(time.monotonic() - begun)
        assert (again.url, again.state, again.version) == (service.url, "ready", "1.0.0")
        kept = [record.request_id for record in Predictions(again.folder / "predictions")]
        assert len(kept) == len(set(kept)), "an id twice"
        assert acknowledged <= set(kept), f"{len(acknowledged - set(kept))} acknowledged answers are lost"
    assert min(restarts) < RESTART, "the quickest: others may be busy on this machine"
    return len(acknowledged)


def test_f06_what_was_acknowledged_is_in_the_log_after_everything_was_killed(workspace: Workspace) -> None:
    assert rounds(workspace, 3, random.Random(6)) > 150
    assert workspace.recover().clean


def test_f06_nothing_is_lost_where_segments_turn_and_rows_are_sampled_hashed_and_bucketed(settings: Settings) -> None:
    """Readers make copies of closed segments meanwhile; a segment that lost its process is closed as well."""
    columns = {"bill": "bucket", "mass": "hash", "age": "drop"}
    log = {"rotate_bytes": 4_000, "sample": 0.5, "columns": columns}
    workspace = Workspace(replace(settings, log=log))
    try:
        assert rounds(workspace, 2, random.Random(7)) > 100
        predictions = workspace.predictions("penguins")
        assert len(predictions.segments()) > 8
        frame, requests = predictions.frame(), predictions.requests()
        ids = [record.request_id for record in predictions]
        assert sorted(requests["request_id"]) == sorted(ids)
        assert (predictions.torn, predictions.damaged) == (0, 0)
        rows = frame[frame["row"].notna()]
        assert 0.3 < rows["request_id"].nunique() / len(ids) < 0.7
        assert set(requests["rows"]) == {2}, "also of requests that are not sampled"
        assert "input.age" not in frame
        assert set(rows["input.mass"].str.len()) == {24}
    finally:
        workspace.stop("penguins")
