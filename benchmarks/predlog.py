"""What the prediction log costs: `python -m benchmarks.predlog`.

Writing: the same bundle served twice, with and without a log, asked in turn. Compared is the worker's processor time for
a request, which is what bounds its throughput, and which other work on the machine blurs less than requests per second.
Reading: a million rows of 30 columns, 24 numbers and 6 texts, as workers write them; by a process of its own.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import head, line
from nbdeploy.runtime.state import State
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.bundle import Bundle

COST = 0.02  # of a request's processor time, at most
READ = 2.0  # seconds for the rows below, read and counted
ROWS = 1_000_000
NUMBERS, TEXTS = [f"n{place}" for place in range(24)], [f"c{place}" for place in range(6)]
ROUNDS = {8: 8, 64: 8}  # by number of connections


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
    with served(workspace, bundle, "logged", log=True) as logged, served(workspace, bundle, "bare", log=False) as bare:
        for connections, rounds in ROUNDS.items():
            found = [_turn(number, logged, bare, requests, connections) for number in range(rounds)]
            cost = statistics.median(found)
            told = f"writing, {connections} connections: {cost:+.2%} (rounds {min(found):+.2%} to {max(found):+.2%})"
            print(f"{told}, at most {COST:.0%}")
            if cost > COST:
                yield f"MISSED: {told}"


def _turn(
    number: int, logged: tuple[Server, int], bare: tuple[Server, int], requests: list[dict[str, Any]], connections: int
) -> float:
    """How much more a logged request costs; who begins takes turns."""
    order = (logged, bare) if number % 2 else (bare, logged)
    seconds = {server.name: _each(server, pid, requests, connections) for server, pid in order}
    return seconds["logged"] / seconds["bare"] - 1


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
def served(workspace: Workspace, bundle: Bundle, name: str, *, log: bool) -> Iterator[tuple[Server, int]]:
    """The server and the pid of its one worker."""
    place = Deployment(workspace.settings, workspace.registry, name)
    launch = place.launch(bundle, Running(no_auth=True), silent)
    launch = replace(launch, log=log, registry=place.folder / "none.db")
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
    for seconds, counting in found["looks"]:
        print(f"reading {seconds:.2f} s and counting {counting:.2f} s, at most {READ:g} s together")
    print(
        f"its requests as one table {found['requests']:.2f} s; memory of the looks {found['before']:.0f} MB before, {found['most']:.0f} MB at most"
    )
    best = min(map(sum, found["looks"]))
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
            f'{{"time":{1.7e9 + number / 100:.6f},"request_id":"{number:024x}","milliseconds":1.25,"version":"1.0.0",'
        )
        start += '"schema":"abc","method":"predict","status":200,"rows":['
        log.write(line(start.encode() + encoded[number * 7 % len(encoded)] + b'],"predictions":["yes"]}'), 1)
    log.close()


def read(folder: str, told: Any) -> None:
    before, log = _memory(), Predictions(Path(folder))
    began = time.perf_counter()
    for _ in log.batches(["time"]):
        pass
    first = time.perf_counter() - began
    names = NUMBERS + TEXTS
    columns = [f"input.{name}" for name in names]
    sample = next(log.batches(columns, size=20_000)).set_axis(names, axis=1)
    reference = Profile.from_dict(profile(sample, infer(sample), predictions=["yes", "no"]))
    looks = [_look(log, reference, columns) for _ in range(3)]
    most = _memory()
    began = time.perf_counter()
    count = len(log.requests())
    if count != ROWS:
        raise RuntimeError(f"{count} requests")
    found = {"first": first, "looks": looks, "requests": time.perf_counter() - began}
    told.put(found | {"before": before, "most": most})


def _look(log: Predictions, reference: Profile, columns: list[str]) -> tuple[float, float]:
    """Seconds of reading, and of counting over the reference's bins."""
    counting = 0.0
    began = time.perf_counter()
    whole = reference.counted([], predictions=[])
    for batch in log.batches([*columns, "prediction"]):
        since = time.perf_counter()
        predictions = batch.pop("prediction")
        rows = batch.set_axis([name.removeprefix("input.") for name in batch.columns], axis=1)
        whole = whole.merged(reference.counted(rows, predictions=predictions))
        counting += time.perf_counter() - since
    if whole.rows != ROWS:
        raise RuntimeError(f"{whole.rows} rows were counted")
    return time.perf_counter() - began - counting, counting


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()}))
    sys.exit(main())
