"""What the prediction log costs: `python -m benchmarks.predlog`.

Writing: what the log's part of a request costs, of what the worker spends on a request in all, in processor time, which bounds
its throughput. The part is measured by itself, since two services beside each other differ by more than it: by 14 % where both
had a log.
Reading: a million rows of 30 columns, 24 numbers and 6 texts, as workers write them, all counted anew as a look counts what it
has never seen; by a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
from pydantic_core import to_json

from benchmarks import penguins
from benchmarks.servers import Server
from benchmarks.serving import load
from nbdeploy.capture.profile import Profile, profile
from nbdeploy.capture.schema import infer
from nbdeploy.deployment import Deployment
from nbdeploy.run.local import LocalLauncher
from nbdeploy.run.options import Running
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.app import metrics_of
from nbdeploy.runtime.batching import Job
from nbdeploy.runtime.identity import Identity
from nbdeploy.runtime.journal import Journal
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import head, line
from nbdeploy.runtime.schema import Contract
from nbdeploy.runtime.state import State
from nbdeploy.settings import Settings
from nbdeploy.watch.axis import Axis
from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.served import read as served_rows
from nbdeploy.workspace import Workspace, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.bundle import Bundle

COST = 0.02  # of a request's processor time, at most
READ = 2.0  # seconds for the rows below, read and counted
ROWS = 1_000_000
LOOKS = 5
BEGAN = 1_700_000_000  # seconds since 1970
NUMBERS, TEXTS = [f"n{place}" for place in range(24)], [f"c{place}" for place in range(6)]
CONNECTIONS = (1, 8, 64)
ROUNDS = 7
RECORDS = 2_000  # of a loop, with a log and without
LOOPS = 40


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        missed = [*writing(folder), *reading(folder / "log")]
    print(*missed or ["every target is met"], sep="\n")
    return 1 if missed else 0


def writing(folder: Path) -> Iterator[str]:
    workspace = Workspace(Settings(home=folder / "home", bentoml_home=folder / "bentoml"))
    sample, target = penguins.data()
    model = penguins.fitted()
    bundle = workspace.bundle(model, name="penguins", sample=sample, target=target)
    requests = penguins.requests(model)
    with served(workspace, bundle, "logged") as service:
        for connections in CONNECTIONS:
            request = statistics.median(_each(*service, requests, connections) for _ in range(ROUNDS))
            merged = max(1, connections // 2)  # requests that share a call of the model, rather fewer than do
            part = _part(bundle, requests[:merged], folder / f"part {connections}")
            told = (
                f"writing, {connections} connections: {part * 1e6:.1f} of {request * 1e6:,.0f} us, {part / request:.1%}"
            )
            print(f"{told}, at most {COST:.0%}", flush=True)
            if part / request > COST:
                yield f"MISSED: {told}"


def _part(bundle: Bundle, requests: list[dict[str, Any]], folder: Path) -> float:
    """Seconds of a request that its record takes, where these are answered by one call."""
    manifest, log = bundle.manifest, PredictionLog(folder)
    methods = {method.name: method for method in manifest.methods}
    identity = Identity("penguins", "1.0.0", manifest.digest)
    kept, bare = (Journal(identity, manifest.schema, one, metrics_of(methods, None)) for one in (log, None))
    contract, answer = Contract(manifest.schema), cast("Any", None)
    jobs = [Job("predict", contract.decode(one["body"].encode()), "f" * 24, 0.0, answer) for one in requests]
    answers = [one["expect"].encode() for one in requests]
    found = [_loop(kept, jobs, answers) - _loop(bare, jobs, answers) for _ in range(LOOPS)]
    log.close()
    return statistics.median(found)


def _loop(journal: Journal, jobs: list[Job], answers: list[bytes]) -> float:
    began, turns = time.process_time(), RECORDS // len(jobs)
    for _ in range(turns):
        journal.answered(jobs, answers, 0.001)
    return (time.process_time() - began) / (turns * len(jobs))


def _each(server: Server, pid: int, requests: list[dict[str, Any]], connections: int) -> float:
    """The worker's processor time for a request, in seconds, by its own count of them."""
    process = psutil.Process(pid)
    before, asked = process.cpu_times(), _answered(server)
    load(server, requests, connections)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (_answered(server) - asked)


def _answered(server: Server) -> int:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    counted = [one for one in lines if one.startswith("nbdeploy_requests_total{") and 'status="200"' in one]
    return sum(round(float(one.rpartition(" ")[2])) for one in counted if "/predict" in one)


@contextlib.contextmanager
def served(workspace: Workspace, bundle: Bundle, name: str) -> Iterator[tuple[Server, int]]:
    """The server and the pid of its one worker."""
    place = Deployment(workspace.settings, workspace.registry, name)
    launch = place.launch(bundle, Running(no_auth=True), silent)
    launch = replace(launch, log=True, registry=place.folder / "none.db")
    candidate = LocalLauncher().prepare(launch, silent)
    try:
        url = candidate.activate("1.0.0", bundle.folder)
        state = State.read(place.folder)
        if state is None:
            raise RuntimeError(f"{name} does not run")
        [pid] = state.pids
        yield Server(name, int(url.rpartition(":")[2])), pid
    finally:
        LocalLauncher().stop(name, place.folder)


def reading(folder: Path) -> Iterator[str]:
    write(folder)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=read, args=(str(folder), told))
    process.start()
    found = told.get(timeout=500)
    process.join()
    print(f"first reading of {ROWS:,} rows, which makes the copies: {found['first']:.1f} s")
    for seconds in found["looks"]:
        print(f"reading and counting {seconds:.2f} s, at most {READ:g} s")
    print(
        f"its requests as one table {found['requests']:.2f} s; memory of the looks {found['before']:.0f} MB before, {found['most']:.0f} MB at most"
    )
    best = min(found["looks"])
    if best > READ:
        yield f"MISSED: reading and counting {ROWS:,} rows took {best:.2f} s"


def write(folder: Path) -> None:
    draw = random.Random(0)
    pool = [{name: draw.gauss(0, 1) for name in NUMBERS} for _ in range(5_000)]
    for row in pool:
        row |= {name: draw.choice(["Biscoe", "Dream", "Torgersen"]) for name in TEXTS}  # type: ignore[misc] # texts too
    encoded = [to_json(row) for row in pool]
    columns = [Column(name, "number", "float64") for name in NUMBERS] + [
        Column(name, "category", "str") for name in TEXTS
    ]
    log = PredictionLog(folder)
    log.head = head("abc", Policy(), Policy().kinds(Schema("frame", tuple(columns))), ())
    for number in range(ROWS):
        start = (
            f'{{"time":{BEGAN + number / 100:.6f},"request_id":"{number:024x}","milliseconds":1.25,"version":"1.0.0",'
        )
        start += '"schema":"abc","method":"predict","status":200,"rows":['
        log.write(line(start.encode() + encoded[number * 7 % len(encoded)] + b'],"predictions":["yes"]}'), 1)
    log.close()


def read(folder: str, told: Any) -> None:
    before, log = _memory(), Predictions(Path(folder))
    began = time.perf_counter()
    count = len(log.requests())
    if count != ROWS:
        raise RuntimeError(f"{count} requests")
    first = time.perf_counter() - began
    names = NUMBERS + TEXTS
    sample = next(log.batches([f"input.{name}" for name in names], size=20_000)).set_axis(names, axis=1)
    reference = Profile.from_dict(profile(sample, infer(sample), predictions=["yes", "no"]))
    looks = [_look(log, Baseline("1.0.0", reference)) for _ in range(LOOKS)]
    most = _memory()
    began = time.perf_counter()
    log.requests()
    found = {"first": first, "looks": looks, "requests": time.perf_counter() - began}
    told.put(found | {"before": before, "most": most})


def _look(log: Predictions, baseline: Baseline) -> float:
    """Seconds of counting all rows over the baseline's bins; its window is not on clock time, so that nothing is kept."""
    began = time.perf_counter()
    start = datetime.fromtimestamp(BEGAN, UTC) - timedelta(microseconds=1)
    axis = Axis(start, start + timedelta(days=1), timedelta(days=1), start + timedelta(days=1))
    found = served_rows(log.pieces(), {baseline.version: baseline}, axis)[baseline.version]
    if found.rows != ROWS:
        raise RuntimeError(f"{found.rows} rows were counted")
    return time.perf_counter() - began


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()}))
    sys.exit(main())
