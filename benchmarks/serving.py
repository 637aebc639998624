"""One JSON row per request, one worker each, all servers side by side in one run.

Rounds go through all servers, each round from another one on, so that what else the machine does falls on all alike. A
ratio is the median of the rounds' own ratios: those were measured within seconds of each other. Where servers are close,
at one connection, there are more rounds. Driver and server share the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from benchmarks import penguins, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.servers import Server

ROUNDS = {1: 9, 8: 3, 64: 3}  # by number of connections
SECONDS = 2.0
RESULTS = Path(__file__).parent / "results.json"
# Requests per second as multiples of FastAPI's, by number of connections.
TARGETS = {"nbdeploy": {1: 1.0, 8: 6.0, 64: 30.0}, "bentoml serve, our bundle": {8: 5.0}}
PEER = "FastAPI by hand"


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ.setdefault("NBDEPLOY_HOME", str(folder / "nbdeploy"))
        os.environ.setdefault("BENTOML_HOME", str(folder / "bentoml"))
        model = penguins.fitted()
        with _started(model, folder) as running:
            results = _measured(running, penguins.requests(model))
    print(table(results))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    missed = list(misses(results))
    print(*missed or ["every target is met"], sep="\n")
    return 1 if missed else 0


@contextlib.contextmanager
def _started(model: Any, folder: Path) -> Iterator[list[Server]]:
    from nbdeploy.settings import Settings
    from nbdeploy.workspace import Workspace

    workspace = Workspace(Settings.load(folder))
    sample, target = penguins.data()
    bundle = workspace.bundle(model, name="penguins", sample=sample, target=target)
    version = workspace.publish(bundle)
    pickled = folder / "model.joblib"
    joblib.dump(model, pickled)
    token = folder / "token"
    token.write_text(secrets.token_urlsafe(32))
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(servers.ours(workspace, version.version)),
            stack.enter_context(servers.fastapi(pickled)),
            stack.enter_context(servers.plain_bentoml(f"penguins:{version.version}", token, folder)),
            stack.enter_context(servers.stock_bentoml(pickled, folder)),
        ]


def _measured(running: list[Server], requests: list[dict[str, Any]]) -> dict[str, Any]:
    """{server: {connections: {per_second, failed, p50_ms, p99_ms, ratio}}}; `ratio` is to PEER's requests per second."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {server.name: {c: [] for c in ROUNDS} for server in running}
    for connections, rounds in ROUNDS.items():
        for number in range(rounds):
            first = number % len(running)
            for server in running[first:] + running[:first]:
                result = load(server, requests, connections)
                found[server.name][connections].append(result)
                told = f"c={connections}, round {number + 1}, {server.name}: {result['per_second']:,.0f}/s"
                print(told, file=sys.stderr)
    for by in found.values():
        for connections, results in by.items():
            for result, peer in zip(results, found[PEER][connections], strict=True):
                result["ratio"] = result["per_second"] / peer["per_second"] if peer["per_second"] else float("inf")
    return {name: {c: _median(results) for c, results in by.items()} for name, by in found.items()}


def load(server: Server, requests: list[dict[str, Any]], connections: int) -> dict[str, Any]:
    job = {
        "port": server.port,
        "token": server.token,
        "requests": requests,
        "connections": connections,
        "seconds": SECONDS,
    }
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"the driver failed against {server.name}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle of each figure, and all failures."""
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    return {**middle, "failed": sum(one["failed"] for one in rounds)}


def table(results: dict[str, Any]) -> str:
    most = max(ROUNDS)
    lines = ["| requests per second | " + " | ".join(f"c={c}" for c in ROUNDS) + f" | p99 at c={most} | failed |"]
    lines.append("|---" * (len(ROUNDS) + 3) + "|")
    for name, by in results.items():
        cells = [f"{by[c]['per_second']:,.0f} ({by[c]['ratio']:.2f}x)" for c in ROUNDS]
        failed = sum(by[c]["failed"] for c in ROUNDS)
        lines.append(f"| {name} | {' | '.join(cells)} | {by[most]['p99_ms']:.1f} ms | {failed} |")
    return "\n".join(lines)


def misses(results: dict[str, Any]) -> Iterator[str]:
    for name, wanted in TARGETS.items():
        for connections, least in wanted.items():
            reached = results[name][connections]["ratio"]
            if reached < least:
                yield f"MISSED: {name} at c={connections}: {reached:.2f} times {PEER}, wanted {least:g}"
        failed = sum(figures["failed"] for figures in results[name].values())
        if failed:
            yield f"MISSED: {name}: {failed} requests failed"


if __name__ == "__main__":
    sys.exit(main())
