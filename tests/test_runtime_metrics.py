"""Counts are exact over workers, their deaths and their successors (F57)."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from toy import DIGEST, app_of, ask, rows

from nbdeploy.runtime import counters
from nbdeploy.runtime.identity import Identity
from nbdeploy.runtime.metrics import Metrics
from nbdeploy.runtime.predlog import PredictionLog

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = ["/predict", "/metrics"]
WORKER = """
import sys
from pathlib import Path
from nbdeploy.runtime.identity import Identity
from nbdeploy.runtime.metrics import Metrics
metrics = Metrics(["/predict", "/metrics"], Path(sys.argv[1]))
metrics.begin(Identity("toy", sys.argv[2], "sha256:x"))
for _ in range(int(sys.argv[3])):
    metrics.answered("/predict", 0.003, 2)
print("counted", flush=True)
sys.stdin.read()
"""


def samples(text: bytes) -> dict[str, float]:
    """As Prometheus itself would read them."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def begun(folder: Path | None = None, version: str = "1.0.0") -> Metrics:
    metrics = Metrics(ROUTES, folder)
    metrics.begin(Identity("toy", version, DIGEST))
    return metrics


def worker(folder: Path, version: str, count: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WORKER, str(folder), version, str(count)]
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"counted\n"
    return child


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def requests(found: dict[str, float], version: str = "1.0.0") -> float:
    return found[f"nbdeploy_requests_total{{route=/predict,status=200,version={version}}}"]


def test_requests_rows_and_latency_are_counted() -> None:
    metrics = begun()
    metrics.answered("/predict", 0.0015, 3)
    metrics.answered("/predict", 100.0, 1)
    metrics.request("/predict", 422)
    metrics.call("/predict", 0.5)
    found = samples(metrics.text())
    assert requests(found) == 2
    assert found["nbdeploy_requests_total{route=/predict,status=422,version=1.0.0}"] == 1
    assert found["nbdeploy_rows_total{route=/predict,version=1.0.0}"] == 4
    assert found["nbdeploy_model_calls_total{route=/predict,version=1.0.0}"] == 1
    assert found["nbdeploy_model_seconds_total{route=/predict,version=1.0.0}"] == pytest.approx(0.5)
    buckets = {key: value for key, value in found.items() if key.startswith("nbdeploy_request_seconds_bucket")}
    assert buckets["nbdeploy_request_seconds_bucket{le=0.001,route=/predict,version=1.0.0}"] == 0
    assert buckets["nbdeploy_request_seconds_bucket{le=0.002,route=/predict,version=1.0.0}"] == 1
    assert buckets["nbdeploy_request_seconds_bucket{le=30,route=/predict,version=1.0.0}"] == 1
    assert buckets["nbdeploy_request_seconds_bucket{le=+Inf,route=/predict,version=1.0.0}"] == 2
    assert found["nbdeploy_request_seconds_sum{route=/predict,version=1.0.0}"] == pytest.approx(100.0015)


def test_a_bound_belongs_to_its_own_bucket() -> None:
    metrics = begun()
    metrics.answered("/predict", 0.005, 1)
    assert samples(metrics.text())["nbdeploy_request_seconds_bucket{le=0.005,route=/predict,version=1.0.0}"] == 1


def test_f57_unknown_paths_and_statuses_share_one_label() -> None:
    metrics = begun()
    for number in range(100):
        metrics.request(f"/nowhere/{number}", 404)
        metrics.request("/predict", 600 + number)
    found = samples(metrics.text())
    assert found["nbdeploy_requests_total{route=unknown,status=404,version=1.0.0}"] == 100
    assert found["nbdeploy_requests_total{route=/predict,status=other,version=1.0.0}"] == 100


def test_any_worker_answers_for_all_and_the_dead_still_count(tmp_path: Path) -> None:
    mine = begun(tmp_path)
    mine.answered("/predict", 0.001, 1)
    children = [worker(tmp_path, "1.0.0", 10), worker(tmp_path, "2.0.0", 100)]
    try:
        alive = samples(mine.text())
        assert (requests(alive), requests(alive, "2.0.0"), alive["nbdeploy_workers{}"]) == (11, 100, 3)
    finally:
        for child in children:
            end(child)
    dead = samples(mine.text())
    assert (requests(dead), requests(dead, "2.0.0"), dead["nbdeploy_workers{}"]) == (11, 100, 1)
    assert len(list(tmp_path.glob("*.cells"))) == 1
    mine.close()
    assert requests(samples(begun(tmp_path).text())) == 11


def test_a_fold_that_was_cut_short_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = begun(tmp_path)
    end(worker(tmp_path, "1.0.0", 5))
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", lambda _: (_ for _ in ()).throw(OSError("killed here")))
        with pytest.raises(OSError, match="killed here"):
            mine.text()
    assert len(list(tmp_path.glob("*.cells"))) == 2
    assert requests(samples(mine.text())) == 5
    assert requests(samples(mine.text())) == 5
    mine.close()


def test_a_file_without_a_header_yet_is_passed_over(tmp_path: Path) -> None:
    mine = begun(tmp_path)
    (tmp_path / "0-1.cells").write_bytes(bytes(10_000))
    assert samples(mine.text())["nbdeploy_workers{}"] == 1
    mine.close()


def test_activation_begins_at_zero() -> None:
    metrics = begun(version="1.0.0")
    metrics.answered("/predict", 0.1, 1)
    metrics.begin(Identity("toy", "1.1.0", DIGEST))
    assert "1.0.0" not in metrics.text().decode()


def test_a_worker_nobody_asked_yet_counts_as_one(tmp_path: Path) -> None:
    app = app_of(log=PredictionLog(tmp_path))
    found = samples(asyncio.run(ask(app, "GET", "/metrics")).body)
    assert found["nbdeploy_workers{}"] == 1
    assert found["nbdeploy_workers_ready{}"] == 1
    app.close()


def test_what_one_worker_could_not_log_another_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (app_of(log=PredictionLog(tmp_path)) for _ in range(2))
    assert first.log is not None
    monkeypatch.setattr(first.log, "_append", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    assert asyncio.run(ask(first, body=rows(1.0, 2.0))).status == 200
    found = samples(asyncio.run(ask(second, "GET", "/metrics")).body)
    assert found["nbdeploy_unlogged_rows_total{}"] == 2
    assert found["nbdeploy_workers_degraded{}"] == 1
    assert requests(found) == 1
    first.close()
    second.close()


def test_labels_are_escaped() -> None:
    metrics = Metrics(['/a"b\\c'])
    metrics.begin(Identity('n"\n', "1.0.0", DIGEST))
    metrics.request('/a"b\\c', 200)
    found = samples(metrics.text())
    assert found['nbdeploy_requests_total{route=/a"b\\c,status=200,version=1.0.0}'] == 1


def test_the_route_is_plain_prometheus_text() -> None:
    async def run() -> tuple[str, bytes]:
        app = app_of()
        await ask(app, body=rows(1.0))
        reply = await ask(app, "GET", "/metrics")
        return reply.headers["content-type"], reply.body

    kind, text = asyncio.run(run())
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(text)
    assert requests(found) == 1
    assert found[f"nbdeploy_info{{digest={DIGEST},name=toy,version=1.0.0}}"] == 1
    assert found["nbdeploy_workers_ready{}"] == 1
    names = set(re.findall("^# TYPE (\\S+)", text.decode(), re.MULTILINE))
    assert all(name.startswith("nbdeploy_") for name in names)


def test_files_are_ours_alone(tmp_path: Path) -> None:
    metrics = begun(tmp_path / "metrics")
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "metrics").iterdir()}
    assert modes == {"0o600"}
    metrics.close()


def test_counting_is_no_system_call(tmp_path: Path) -> None:
    """But the mapping is shared: a reader of the file sees the count at once."""
    metrics = begun(tmp_path)
    [path] = tmp_path.glob("*.cells")
    calls: list[str] = []
    sys.setprofile(lambda _frame, event, what: calls.append(what.__name__) if event == "c_call" else None)
    try:
        metrics.answered("/predict", 0.003, 1)
    finally:
        sys.setprofile(None)
    assert set(calls) <= {"get", "bisect_left", "setprofile"}
    assert counters.read(path.read_bytes())[1][("requests", "/predict", "1.0.0", "200")] == 1
    metrics.close()


def test_the_header_fits_its_place(tmp_path: Path) -> None:
    metrics = Metrics([f"/{'m' * 60}{number}" for number in range(30)], tmp_path)
    metrics.begin(Identity("n" * 63, "1000.1000.1000", DIGEST))
    [path] = tmp_path.glob("*.cells")
    assert len(json.loads(path.read_bytes()[: counters.HEADER])["routes"]) == 31
    assert path.stat().st_size > counters.HEADER
    metrics.close()
