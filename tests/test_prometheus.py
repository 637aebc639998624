"""Debian's Prometheus scrapes a real service: its view of the counts is ours, the rules fire, the dashboard has data."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import moody
import psutil
import pytest
from load import Load
from monitoring import PATIENCE, Prometheus, hurried, prometheus

from nbdeploy.settings import Settings
from nbdeploy.templates import template
from nbdeploy.watch.traffic import traffic
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from nbdeploy.run.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
PREDICT = 'nbdeploy_requests_total{route="/predict"}'
ANSWERED = 'sum(nbdeploy_requests_total{route="/predict",status="200"})'


@dataclass
class World:
    """A service of two workers, and a Prometheus that scrapes it by the files that were written for it."""

    workspace: Workspace
    service: Service
    server: Prometheus

    def predict(self, *rows: list[Any], path: str = "/predict", **more: Any) -> int:
        """One request; its status."""
        told: Any = self.service.client.send("POST", path, json.dumps({"rows": rows, **more}).encode())
        return int(told.status)

    def load(self, limit: float = 30.0) -> Load:
        body = json.dumps({"rows": [moody.WELL]}).encode()
        token = self.workspace.token("moody")
        return Load(self.service.url, clients=6, keep_alive=True, body=body, token=token, limit=limit)

    def requests(self) -> pd.DataFrame:
        return self.service.predictions().requests()

    def answered(self) -> float:
        """As Prometheus sees it, once nobody asks any more."""
        self.server.scraped()
        found = self.server.number(ANSWERED)
        assert found is not None
        return found

    def workers(self) -> list[int]:
        (state,) = self.workspace.services()
        assert state.pid is not None
        return [child.pid for child in psutil.Process(state.pid).children()]

    def until_started(self, count: int) -> None:
        """Until so many workers have begun, the dead ones counted in."""
        self.server.until("sum(nbdeploy_worker_starts_total)", lambda starts: starts == count)

    def workers_again(self) -> None:
        """Until both take requests."""
        self.server.until("sum(nbdeploy_workers_ready)", lambda ready: ready == 2)

    @contextmanager
    def asking(self, *rows: list[Any]) -> Iterator[None]:
        """Such requests, one after the other, as long as the context lasts."""
        end = threading.Event()

        def ask() -> None:
            while not end.is_set():
                for row in rows:
                    self.predict(row)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            end.set()
            asking.join()

    def fires(self, *alerts: str, since: float) -> None:
        """Wait for it."""
        deadline = time.monotonic() + PATIENCE
        while not set(alerts) <= (fired := self.server.fired(since)):
            assert time.monotonic() < deadline, f"only {fired} fired"
            time.sleep(0.05)

    def load_until(self, expression: str, wanted: float) -> int:
        """Load on ever new connections, so that it reaches every worker, until Prometheus sees that; how much was answered."""
        deadline = time.monotonic() + PATIENCE
        answered = 0
        while (seen := self.server.number(expression)) != wanted:
            assert time.monotonic() < deadline, f"{expression} is still {seen}"
            with self.load() as load:
                while load.tally.answered < 20:
                    time.sleep(0.01)
            assert (load.tally.lost, load.tally.refused) == ([], {})
            answered += load.tally.answered
        return answered


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("prometheus")
    workspace = Workspace(Settings(folder / "home", folder / "bentoml"))
    watched = folder / "watched"
    service = workspace.deploy(moody.Moody(2.0), name="moody", sample=moody.SAMPLE, workers=2)
    try:
        workspace.export("moody", prometheus=watched)
        hurried(watched)
        with prometheus(watched) as server:
            made = World(workspace, service, server)
            made.workers_again()
            yield made
    finally:
        if any(state.running for state in workspace.services()):
            workspace.stop("moody")


def test_before_anything_is_asked_all_is_zero_and_no_alert_fires(world: World) -> None:
    assert world.server.number("count(nbdeploy_workers_expected == 2)") == 1
    assert world.server.number(f"sum({PREDICT})") == 0
    assert world.server.fired(time.time() - 60) == set()
    world.server.scraped()


def test_counts_rates_and_latencies_are_those_of_the_log(world: World) -> None:
    world.server.scraped()
    before = time.time()
    statuses = Counter(world.predict(*[moody.WELL] * rows) for rows in (1, 2, 3) * 30)
    statuses += Counter(world.predict(moody.FAIL) for _ in range(7))
    statuses += Counter(world.predict(["no number", 0.0, 0.0, 0.0]) for _ in range(5))
    assert statuses == {200: 90, 500: 7, 422: 5}
    with world.load() as load:
        while load.tally.answered < 100:
            time.sleep(0.01)
    statuses[200] += load.tally.answered
    world.server.scraped()
    seen = world.server.ask(f"sum by (status) ({PREDICT}) > 0")
    assert seen == {(("status", str(status)),): count for status, count in statuses.items()}
    log = world.requests()
    ours = traffic(log, _moment(before), _moment(time.time()))  # all that it saw between two scrapes
    assert (ours.outside, ours.whole.requests) == (0, statuses.total())
    assert world.server.number("sum(nbdeploy_rows_total)") == ours.whole.rows == 180 + load.tally.answered
    assert (ours.whole.error_rate, ours.whole.refused_rate) == (7 / statuses.total(), 5 / statuses.total())
    by_worker = world.server.ask(f"sum by (worker) ({PREDICT}) > 0")
    assert set(by_worker) <= {(("worker", "0"),), (("worker", "1"),)}
    assert sorted(by_worker.values()) == sorted(split.whole.requests for split in ours.workers.values())
    _same_latencies(world.server, log, ours.whole.p50_ms)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _same_latencies(server: Prometheus, log: pd.DataFrame, median: Any) -> None:
    """The log keeps a thousandth of a millisecond, so requests so near to a bound may lie on either side of it."""
    seconds = log.loc[log["status"] == 200, "milliseconds"] / 1_000
    buckets = server.ask("sum by (le) (nbdeploy_request_duration_seconds_bucket)")
    bounds = {float(dict(key)["le"]): count for key, count in buckets.items()}
    assert len(bounds) == 16
    for bound, count in bounds.items():
        assert (seconds <= bound - 1e-6).sum() <= count <= (seconds <= bound + 1e-6).sum()
    theirs = server.number("histogram_quantile(0.5, sum by (le) (nbdeploy_request_duration_seconds_bucket))")
    edges = [0.0, *sorted(bounds)]
    low = max(edge for edge in edges if edge < median / 1_000)
    high = min(edge for edge in edges if edge >= median / 1_000)
    assert theirs is not None
    assert low <= theirs <= high


def test_what_is_answered_over_the_death_of_a_worker_is_counted_once(world: World) -> None:
    """While nobody asks, so that no request is lost with it: every answer is acknowledged, and counted."""
    before = world.answered()
    with world.load() as load:
        while load.tally.answered < 100:
            time.sleep(0.01)
    os.kill(world.workers()[0], signal.SIGKILL)
    world.until_started(3)
    world.workers_again()
    with world.load() as more:
        while more.tally.answered < 100:
            time.sleep(0.01)
    assert (load.tally.lost, more.tally.lost) == ([], [])
    counted = world.answered()
    assert counted == before + load.tally.answered + more.tally.answered
    assert counted == (world.requests()["status"] == 200).sum()


def test_f03_killed_under_load_no_acknowledged_answer_goes_uncounted(world: World) -> None:
    """What a killed worker had counted and not sent yet is at most what its clients lost."""
    begun = time.time()
    before = world.answered()
    with world.load() as load:
        for turn in (1, 2):
            while load.tally.answered < 200 * turn:
                time.sleep(0.01)
            os.kill(world.workers()[0], signal.SIGKILL)
            world.until_started(3 + turn)
        world.fires("NbdeployWorkersRestarting", "NbdeployWorkersMissing", since=begun)
    world.workers_again()
    counted = world.answered()
    tally = load.tally
    assert not tally.refused
    assert tally.answered <= counted - before <= tally.answered + len(tally.lost)
    never_back(world)


def never_back(world: World) -> None:
    for name in ("requests_total", "request_duration_seconds_count", "rows_total", "worker_cpu_seconds_total"):
        assert world.server.number(f"max(resets(nbdeploy_{name}[10m]))") == 0


def test_errors_refusals_and_slow_answers_fire(world: World) -> None:
    begun = time.time()
    with world.asking(moody.FAIL, ["no number", 0.0, 0.0, 0.0], moody.WELL):
        world.fires("NbdeployErrorRate", "NbdeployRequestsRefused", since=begun)
    with world.asking(moody.SLOW):
        world.fires("NbdeployLatency", since=begun)


def test_f22_a_log_that_cannot_be_written_fires_and_recovers(world: World) -> None:
    """As on a full disk: the workers' files may not grow."""
    begun = time.time()
    workers = world.workers()
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY)) for pid in workers}
    unlogged = world.load_until("sum(nbdeploy_workers_degraded)", 2)
    world.fires("NbdeployPredictionLogDegraded", "NbdeployRowsNotLogged", since=begun)
    world.server.scraped()
    assert world.server.number("sum(nbdeploy_unlogged_rows_total)") == unlogged
    assert [state.state for state in world.workspace.services()] == ["degraded"]
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before[pid])
    world.load_until("sum(nbdeploy_workers_degraded)", 0)


def test_both_versions_of_a_hand_over_are_counted_exactly(world: World) -> None:
    world.server.scraped()
    of_version = 'sum by (version) (nbdeploy_requests_total{route="/predict",status="200"})'
    before = world.server.ask(of_version)
    with world.load() as load:
        world.workspace.deploy(moody.Moody(3.0), name="moody", sample=moody.SAMPLE)
        while load.tally.versions["1.0.1"] < 200:
            time.sleep(0.01)
    assert (load.tally.lost, load.tally.refused) == ([], {})
    world.server.scraped()
    after = world.server.ask(of_version)
    grown = {dict(key)["version"]: count - before.get(key, 0) for key, count in after.items()}
    assert grown == dict(load.tally.versions)
    world.server.until("count(nbdeploy_info)", lambda versions: versions == 1)
    never_back(world)


def test_every_panel_of_the_dashboard_has_data(world: World) -> None:
    request_id = str(world.requests()["request_id"].iloc[-1])
    told: Any = world.service.client.send(
        "POST", "/feedback", json.dumps({"request_id": request_id, "labels": [1.0]}).encode()
    )
    assert told.status == 200
    with world.asking(moody.WELL):
        world.server.until('sum(rate(nbdeploy_requests_total{route="/feedback"}[5s]))', bool)
    board = json.loads(template("grafana_dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    now = time.time()
    empty = [
        (panel["title"], target["expr"])
        for panel in panels
        for target in panel["targets"]
        if not _data(world.server, target["expr"], now)
    ]
    assert empty == []
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert _values(world.server, variable["query"]["query"])


def _data(server: Prometheus, expression: str, now: float) -> list[float]:
    """As Grafana asks, with every variable at All."""
    found = server.get("query_range", query=_filled(expression), start=str(now - 120), end=str(now), step="1")["result"]
    values = [float(value) for series in found for _, value in series["values"]]
    return [value for value in values if math.isfinite(value)]


def _values(server: Prometheus, query: str) -> list[str]:
    metric, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(",")
    return list(server.get(f"label/{label.strip()}/values", **{"match[]": _filled(metric)}))


def _filled(expression: str) -> str:
    for name, value in (("$service", "moody"), ("$version", ".+"), ("$__rate_interval", "2s")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_a_service_that_is_silent_and_one_that_is_down_fire(world: World) -> None:
    counted = world.answered()
    world.fires("NbdeployNoTraffic", since=time.time())
    world.workspace.stop("moody")
    world.fires("NbdeployServiceDown", since=time.time())
    world.workspace.serve("moody")
    world.server.until('min(up{job="nbdeploy-moody"})', lambda up: up == 1)
    assert world.answered() == counted
    never_back(world)
