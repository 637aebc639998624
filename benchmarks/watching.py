"""How long `monitor` takes over a million logged rows of 30 columns: `python -m benchmarks.watching [ROWS]`.

The log is written as a worker writes it, and its last segment still grows. The first look makes Parquet copies, counts them and
works out thresholds; the next ones are what a user waits for, without labels and then with one for every tenth row. Memory is the
peak of a process that only looks.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from nbdeploy.runtime.identity import schema_id
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import SUFFIX, head, line
from nbdeploy.runtime.rules import SEGMENT_BYTES
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.runtime.manifest import Schema

ROWS = 1_000_000
COLUMNS = 30
BATCH = 100  # rows of a request
LOOKS = 3


class Mixed:
    """Answers from its first column, which is all that a log needs."""

    def __init__(self, model: LogisticRegression) -> None:
        self.model = model
        self.classes_ = model.classes_

    def predict(self, rows: pd.DataFrame) -> Any:
        return self.model.predict(rows[["x0"]].to_numpy())


def rows_of(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    numbers = {f"x{place}": random.normal(size=count).round(4) for place in range(COLUMNS - 6)}
    texts = {f"c{place}": random.choice(["Dream", "Biscoe", "Torgersen"], count) for place in range(6)}
    return pd.DataFrame(numbers | texts)


def write(folder: Path, schema: Schema, rows: int) -> Path:
    """A week of requests; the last segment."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    began, step = now - timedelta(days=7), timedelta(days=7) / (rows / BATCH)
    batches = [json.loads(rows_of(BATCH, seed).to_json(orient="records")) for seed in range(200)]
    payloads = [
        json.dumps({"rows": batch, "predictions": [bool(row["x0"] > 0) for row in batch]})[1:] for batch in batches
    ]
    identity, policy = schema_id(schema), Policy()
    begin = head(identity, policy, policy.kinds(schema), schema.keys)
    parts, size = [begin], 0
    for number in range(rows // BATCH):
        at = began + number * step
        start = {
            "time": at.timestamp(),
            "request_id": f"r{number}",
            "milliseconds": 3.0 + number % 5,
            "version": "1.0.0",
        }
        start |= {"schema": identity, "method": "predict", "status": 200}
        parts.append(line(f"{json.dumps(start)[:-1]}, {payloads[number % len(payloads)]}".encode()))
        size += len(parts[-1])
        if size > SEGMENT_BYTES or number == rows // BATCH - 1:
            path = folder / f"{round(at.timestamp() * 1e6):016d}-1{SUFFIX}"
            path.write_bytes(b"".join(parts))
            parts, size = [begin], 0
    return path


def look(home: Path, bentoml_home: Path, requests: int) -> tuple[float, float]:
    """Prints what each look takes; the largest memory in MB, before and at all."""
    workspace = Workspace(Settings(home=home, bentoml_home=bentoml_home))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for labelled in (False, True):
        if labelled:
            rows = [(f"r{number}", place) for number in range(0, requests, 10) for place in range(BATCH)]
            table = pd.DataFrame(rows, columns=["request_id", "row"])
            workspace.feedback("wide", table.assign(label=np.arange(len(table)) % 2 == 0))
            print(f"with {len(table):,} labels:")
        for number in range(LOOKS):
            wall, busy = time.perf_counter(), time.process_time()
            health = workspace.monitor("wide")
            page = health.html()
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            took = f"look {number + 1}: {wall:6.2f} s, {busy:6.2f} s of processor time"
            print(f"{took}; {health.verdict}; page {len(page):,}")
    return before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(rows: int = ROWS) -> int:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder, "home"), bentoml_home=Path(folder, "bentoml"))
        workspace = Workspace(settings)
        sample = rows_of(5_000, 10_000)
        fitted = LogisticRegression().fit(sample[["x0"]].to_numpy(), sample["x0"] > 0)
        version = workspace.publish(workspace.bundle(Mixed(fitted), name="wide", sample=sample))
        last = write(settings.services / "wide" / "predictions", version.manifest().schema, rows)
        with last.open() as file, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            fcntl.flock(file, fcntl.LOCK_EX)  # as a worker that goes on writing
            before, most = pool.submit(look, settings.home, settings.bentoml_home, rows // BATCH).result()
        print(f"memory: {before:.0f} MB before, {most:.0f} MB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
