"""One measurement in a process of its own: `python -m benchmarks.probes NAME` prints {figure: [seconds of each run]}."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parents[1] / "tests"
RUNS = 5
DEPLOYS = 3
VERSIONS = 100_000


def load_ext() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    tell("%load_ext nbdeploy", [timed(lambda: shell.run_line_magic("load_ext", "nbdeploy"))])


def parts() -> None:
    """What a deploy and a request are made of, each alone."""
    sys.path.insert(0, str(TESTS))  # its stand-ins for a model and a registry
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _bundle()
        _environment()
        _data()
        _registry(folder)
        _supervisor(folder)
        _request(folder)


def deploy() -> None:
    """Ours and BentoML by hand in turn, each from a fitted model to its first answer; both have bundled once."""
    from benchmarks import penguins, servers
    from nbdeploy.workspace import Workspace

    model = penguins.fitted()
    sample, target = penguins.data()
    row = penguins.requests(model, 1)[0]
    workspace = Workspace()
    workspace.bundle(model, name="warm", sample=sample, target=target)
    servers.build_bentoml(model)
    ours, by_hand = [], []
    for number in range(DEPLOYS):
        model.set_params(logisticregression__C=1 + number).fit(sample, target)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: workspace.stop("penguins"))

            def deployed() -> None:
                service = workspace.deploy(model, name="penguins", sample=sample, target=target, launcher="local")
                answered(int(service.url.rpartition(":")[2]), row, workspace.token("penguins"))

            ours.append(timed(deployed))
        with contextlib.ExitStack() as stack:

            def served() -> None:
                server = stack.enter_context(servers.built_bentoml(model))
                answered(server.port, row, None)

            by_hand.append(timed(served))
    tell("%deploy to the first answer, warm", ours)
    tell("BentoML by hand to the first answer, warm", by_hand)


def _bundle() -> None:
    from benchmarks import penguins
    from nbdeploy.workspace import Workspace

    model = penguins.fitted()
    sample, target = penguins.data()
    bundle = functools.partial(Workspace().bundle, model, name="penguins", sample=sample, target=target)
    bundle()
    tell("bundle the penguins pipeline, warm", [timed(bundle) for _ in range(RUNS)])


def _environment() -> None:
    from nbdeploy.capture.environment import lock, warm
    from nbdeploy.runtime.environment import installed_distributions, problems

    warm()
    for thread in threading.enumerate():
        if thread.name == "nbdeploy-environment":
            thread.join()
    pinned = functools.partial(lock, ["sklearn.pipeline", "pandas"], frames=True)
    tell("pin the environment, warm", [timed(pinned) for _ in range(RUNS)])
    installed = sorted(installed_distributions().items())[:60]
    pins = {"requirements": [f"{name}=={found.version}" for name, found in installed]}
    tell("check 60 pins", [timed(lambda: problems(pins)) for _ in range(RUNS)])


def _data() -> None:
    import numpy as np
    import pandas as pd

    from nbdeploy.capture.fingerprint import fingerprint
    from nbdeploy.capture.profile import profile
    from nbdeploy.runtime.manifest import Column, Schema

    random = np.random.default_rng(0)
    rows = pd.DataFrame({f"c{number}": random.normal(size=1_000_000) for number in range(27)})
    rows = rows.assign(t=random.choice(["a", "b"], 1_000_000), u=rows["c0"] > 0, i=1)
    tell("fingerprint 1,000,000 rows of 30 columns", [timed(lambda: fingerprint(rows)) for _ in range(3)])
    schema = Schema("frame", columns=tuple(Column(f"c{number}", "number", "float64") for number in range(10)))
    tell("profile 1,000,000 rows of 10 columns", [timed(lambda: profile(rows, schema)) for _ in range(3)])


def _registry(folder: Path) -> None:
    from test_keep_registry import fill

    from nbdeploy.keep.registry import Registry

    registry = Registry(folder / "registry.db")
    fill(registry, VERSIONS)
    tell("list 100,000 versions", [timed(lambda: Registry(registry.path).versions("penguins")) for _ in range(3)])


def _supervisor(folder: Path) -> None:
    """Nobody gives it an order, so that it leaves again as soon as the connection ends."""
    from nbdeploy.run import local
    from nbdeploy.runtime import control

    found = []
    for number in range(RUNS):
        place = folder / str(number)
        place.mkdir()
        found.append(timed(functools.partial(local._start, "figures", place)))  # noqa: SLF001  # a part of deploying
        control.connect(place).close()
        end = time.monotonic() + 60
        while (place / control.SOCKET).exists():
            if time.monotonic() > end:
                raise RuntimeError("a supervisor without an order did not leave")
            time.sleep(0.01)
    tell("start a supervisor", found)


def _request(folder: Path) -> None:
    from toy import TOKEN_SHA256, app_of, ask

    from nbdeploy.runtime import tables
    from nbdeploy.runtime.identity import Identity
    from nbdeploy.runtime.manifest import Column, Schema
    from nbdeploy.runtime.metrics import Metrics
    from nbdeploy.runtime.predlog import PredictionLog
    from nbdeploy.runtime.records import line

    log = PredictionLog(folder / "log")
    payload = b'{"n":"%b"}' % (b"x" * 300)
    tell("keep one record in the prediction log", each(lambda: log.write(line(payload), 1), 2_000))
    log.close()

    metrics = Metrics(["/predict"], folder / "metrics")
    metrics.begin(Identity("figures", "1.0.0", "sha256:0"))
    tell("count one request", each(lambda: metrics.answered("/predict", 0.003, 1), 10_000))
    metrics.close()

    numbers = [f"x{number}" for number in range(5)]
    columns = [*(Column(name, "category", "str") for name in "ab"), *(Column(x, "number", "float64") for x in numbers)]
    build = tables.builder_of(Schema("frame", tuple(columns), library="pandas"))
    row: dict[str, Any] = {"a": "x", "b": "y", **dict.fromkeys(numbers, 1.0)}
    tell("build one row of 7 columns", each(lambda: build([row]), 500))

    app = app_of(token_sha256=TOKEN_SHA256)

    async def attack() -> None:
        for _ in range(1_000):
            await ask(app, headers={"authorization": "Bearer wrong"})

    tell("refuse 1,000 wrong tokens", [timed(lambda: asyncio.run(attack())) for _ in range(RUNS)])


def answered(port: int, row: dict[str, Any], token: str | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request("POST", "/predict", row["body"], headers)
    reply = connection.getresponse()
    told = reply.read().decode()
    connection.close()
    if reply.status != 200 or row["expect"] not in told:
        raise RuntimeError(f"the first answer is wrong: {reply.status} {told[:500]}")


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def each(work: Callable[[], object], times: int) -> list[float]:
    """Seconds for one of many; the first round only warms."""

    def many() -> None:
        for _ in range(times):
            work()

    return [timed(many) / times for _ in range(RUNS + 1)][1:]


def tell(name: str, seconds: list[float]) -> None:
    print(json.dumps({name: seconds}), flush=True)


PROBES = {"load_ext": load_ext, "parts": parts, "deploy": deploy}

if __name__ == "__main__":
    PROBES[sys.argv[1]]()
