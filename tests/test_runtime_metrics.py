"""Counts are exact over workers, their deaths and their successors (F57)."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from monitoring import program
from prometheus_client.parser import text_string_to_metric_families
from toy import DIGEST, app_of, ask, rows

from nbdeploy.runtime import counters
from nbdeploy.runtime.identity import Identity
from nbdeploy.runtime.metrics import Metrics, resident
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
metrics.begin(Identity("toy", sys.argv[2], "sha256:x", worker=int(sys.argv[4]), workers=2))
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


def worker(folder: Path, version: str, count: int, place: int = 0) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WORKER, str(folder), version, str(count), str(place)]
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"counted\n"
    return child


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def requests(found: dict[str, float], version: str = "1.0.0") -> float:
    """Of all its workers."""
    start, end = "nbdeploy_requests_total{route=/predict,status=200,", f"version={version},"
    return sum(value for key, value in found.items() if key.startswith(start) and end in key)


def test_requests_rows_and_latency_are_counted() -> None:
    metrics = begun()
    metrics.answered("/predict", 0.0015, 3)
    metrics.answered("/predict", 100.0, 1)
    metrics.request("/predict", 422)
    metrics.call("/predict", 0.5)
    found = samples(metrics.text())
    assert requests(found) == 2
    assert found["nbdeploy_requests_total{route=/predict,status=422,version=1.0.0,worker=0}"] == 1
    assert found["nbdeploy_rows_total{route=/predict,version=1.0.0,worker=0}"] == 4
    assert found["nbdeploy_model_calls_total{route=/predict,version=1.0.0,worker=0}"] == 1
    assert found["nbdeploy_model_seconds_total{route=/predict,version=1.0.0,worker=0}"] == pytest.approx(0.5)
    buckets = {key: value for key, value in found.items() if key.startswith("nbdeploy_request_duration_seconds_bucket")}
    assert buckets["nbdeploy_request_duration_seconds_bucket{le=0.001,route=/predict,version=1.0.0,worker=0}"] == 0
    assert buckets["nbdeploy_request_duration_seconds_bucket{le=0.002,route=/predict,version=1.0.0,worker=0}"] == 1
    assert buckets["nbdeploy_request_duration_seconds_bucket{le=30,route=/predict,version=1.0.0,worker=0}"] == 1
    assert buckets["nbdeploy_request_duration_seconds_bucket{le=+Inf,route=/predict,version=1.0.0,worker=0}"] == 2
    assert found["nbdeploy_request_duration_seconds_sum{route=/predict,version=1.0.0,worker=0}"] == pytest.approx(
        100.0015
    )


def test_a_bound_belongs_to_its_own_bucket() -> None:
    metrics = begun()
    metrics.answered("/predict", 0.005, 1)
    assert (
        samples(metrics.text())[
            "nbdeploy_request_duration_seconds_bucket{le=0.005,route=/predict,version=1.0.0,worker=0}"
        ]
        == 1
    )


def test_f57_unknown_paths_and_statuses_share_one_label() -> None:
    metrics = begun()
    for number in range(100):
        metrics.request(f"/nowhere/{number}", 404)
        metrics.request("/predict", 600 + number)
    found = samples(metrics.text())
    assert found["nbdeploy_requests_total{route=unknown,status=404,version=1.0.0,worker=0}"] == 100
    assert found["nbdeploy_requests_total{route=/predict,status=other,version=1.0.0,worker=0}"] == 100


def test_any_worker_answers_for_all_and_the_dead_still_count(tmp_path: Path) -> None:
    mine = begun(tmp_path)
    mine.answered("/predict", 0.001, 1)
    children = [worker(tmp_path, "1.0.0", 10), worker(tmp_path, "2.0.0", 100)]
    try:
        alive = samples(mine.text())
        assert (requests(alive), requests(alive, "2.0.0"), alive["nbdeploy_workers{version=1.0.0}"]) == (11, 100, 2)
    finally:
        for child in children:
            end(child)
    dead = samples(mine.text())
    assert (requests(dead), requests(dead, "2.0.0"), dead["nbdeploy_workers{version=1.0.0}"]) == (11, 100, 1)
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
    assert samples(mine.text())["nbdeploy_workers{version=1.0.0}"] == 1
    mine.close()


def test_activation_begins_at_zero() -> None:
    metrics = begun(version="1.0.0")
    metrics.answered("/predict", 0.1, 1)
    metrics.begin(Identity("toy", "1.1.0", DIGEST))
    assert "1.0.0" not in metrics.text().decode()


def test_a_worker_nobody_asked_yet_counts_as_one(tmp_path: Path) -> None:
    app = app_of(log=PredictionLog(tmp_path))
    found = samples(asyncio.run(ask(app, "GET", "/metrics")).body)
    assert found["nbdeploy_workers{version=1.0.0}"] == 1
    assert found["nbdeploy_workers_ready{version=1.0.0}"] == 1
    app.close()


def test_what_one_worker_could_not_log_another_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (app_of(log=PredictionLog(tmp_path)) for _ in range(2))
    assert first.log is not None
    monkeypatch.setattr(first.log, "_append", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    assert asyncio.run(ask(first, body=rows(1.0, 2.0))).status == 200
    found = samples(asyncio.run(ask(second, "GET", "/metrics")).body)
    assert found["nbdeploy_unlogged_rows_total{version=1.0.0,worker=0}"] == 2
    assert found["nbdeploy_workers_degraded{version=1.0.0}"] == 1
    assert requests(found) == 1
    first.close()
    second.close()


def test_labels_are_escaped() -> None:
    metrics = Metrics(['/a"b\\c'])
    metrics.begin(Identity('n"\n', "1.0.0", DIGEST))
    metrics.request('/a"b\\c', 200)
    found = samples(metrics.text())
    assert found['nbdeploy_requests_total{route=/a"b\\c,status=200,version=1.0.0,worker=0}'] == 1


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
    assert found["nbdeploy_workers_ready{version=1.0.0}"] == 1
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
    found = counters.read(path.read_bytes()).counters
    assert found["requests", "1.0.0", "0", "/predict", "200"] == 1
    metrics.close()


def test_the_header_fits_its_place(tmp_path: Path) -> None:
    metrics = Metrics([f"/{'m' * 60}{number}" for number in range(30)], tmp_path)
    metrics.begin(Identity("n" * 63, "1000.1000.1000", DIGEST))
    [path] = tmp_path.glob("*.cells")
    assert len(json.loads(path.read_bytes()[: counters.HEADER])["routes"]) == 31
    assert path.stat().st_size > counters.HEADER
    metrics.close()


def test_who_takes_the_place_of_a_dead_worker_counts_on_under_its_number(tmp_path: Path) -> None:
    mine = begun(tmp_path, "1.0.0")
    seen = []
    for count in (5, 7, 11):
        child = worker(tmp_path, "1.0.0", count, place=1)
        seen.append(samples(mine.text()))
        end(child)
    name = "nbdeploy_requests_total{route=/predict,status=200,version=1.0.0,worker=1}"
    assert [found[name] for found in seen] == [5, 12, 23]
    assert [found["nbdeploy_worker_starts_total{version=1.0.0,worker=1}"] for found in seen] == [1, 2, 3]
    buckets = "nbdeploy_request_duration_seconds_count{route=/predict,version=1.0.0,worker=1}"
    assert [found[buckets] for found in seen] == [5, 12, 23]
    last = samples(mine.text())
    assert last[name] == 23
    assert "nbdeploy_worker_start_time_seconds{version=1.0.0,worker=1}" not in last
    mine.close()


def test_both_versions_of_a_hand_over_are_told_by_either(tmp_path: Path) -> None:
    """The old worker drains while the new one serves; a scrape may reach either."""
    old, new = begun(tmp_path, "1.0.0"), begun(tmp_path, "1.1.0")
    old.answered("/predict", 0.001, 1)
    new.answered("/predict", 0.001, 1)
    for metrics in (old, new):
        metrics.state(unlogged_rows=0, in_flight=1, ready=metrics is new, degraded=False)
    texts = [metrics.text() for metrics in (old, new)]
    assert texts[0] == texts[1]
    found = samples(texts[0])
    assert [found[f"nbdeploy_workers_ready{{version={version}}}"] for version in ("1.0.0", "1.1.0")] == [0, 1]
    assert [found[f"nbdeploy_info{{digest={DIGEST},name=toy,version={version}}}"] for version in ("1.0.0", "1.1.0")]
    old.close()
    new.close()


def test_workers_of_one_version_are_added_up_but_not_how_many_were_asked_for(tmp_path: Path) -> None:
    mine = Metrics(ROUTES, tmp_path)
    mine.begin(Identity("toy", "1.0.0", "sha256:x", worker=0, workers=2))
    child = worker(tmp_path, "1.0.0", 1, place=1)
    found = samples(mine.text())
    end(child)
    assert found["nbdeploy_workers{version=1.0.0}"] == 2
    assert found["nbdeploy_workers_expected{version=1.0.0}"] == 2
    assert found["nbdeploy_info{digest=sha256:x,name=toy,version=1.0.0}"] == 1
    assert samples(mine.text())["nbdeploy_workers_expected{version=1.0.0}"] == 2
    mine.close()


def test_what_the_model_answers_is_told_before_it_happens() -> None:
    """A series that appears with its first failure has not grown, to Prometheus."""
    metrics = Metrics(ROUTES, told=["/predict"])
    metrics.begin(Identity("toy", "1.0.0", DIGEST))
    found = samples(metrics.text())
    assert found["nbdeploy_requests_total{route=/predict,status=500,version=1.0.0,worker=0}"] == 0
    assert found["nbdeploy_request_duration_seconds_count{route=/predict,version=1.0.0,worker=0}"] == 0
    assert not [name for name in found if "route=/metrics" in name]
    app = app_of()
    app.note_process()
    first = samples(app.metrics.text())
    assert {value for name, value in first.items() if name.startswith("nbdeploy_requests_total")} == {0}


def test_processes_tell_what_they_use(tmp_path: Path) -> None:
    before = time.time()
    app = app_of(log=PredictionLog(tmp_path))
    found = samples(asyncio.run(ask(app, "GET", "/metrics")).body)
    labels = "{version=1.0.0,worker=0}"
    assert found[f"nbdeploy_worker_resident_memory_bytes{labels}"] > 10e6
    assert found[f"nbdeploy_worker_cpu_seconds_total{labels}"] >= 0
    assert before - 1 <= found[f"nbdeploy_worker_start_time_seconds{labels}"] <= time.time()
    app.close()


def test_memory_nobody_tells_is_no_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert resident() == 0


def test_another_runtime_s_cells_are_read_by_what_they_say_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle of the other version has a runtime with other statuses, bounds and numbers of its worker."""
    mine = begun(tmp_path, "1.1.0")
    other = begun(tmp_path, "1.0.0")
    [path] = [path for path in tmp_path.glob("*.cells") if b'"1.0.0"' in path.read_bytes()]
    cells = {"head": ["news", "ready"], "statuses": ["200", "418"], "bounds": ["0.3"], "tail": ["microseconds"]}
    header = {"version": "1.0.0", "digest": "d", "worker": 3, "workers": 4, "routes": ["/predict"], "told": []}
    numbers = struct.pack("7Q", 9, 1, 40, 2, 30, 12, 5_000_000)
    path.write_bytes(json.dumps({**header, "cells": cells}).encode().ljust(counters.HEADER) + numbers)
    mine.answered("/predict", 0.4, 1)
    found = samples(mine.text())
    assert requests(found, "1.0.0") == 40
    assert found["nbdeploy_requests_total{route=/predict,status=418,version=1.0.0,worker=3}"] == 2
    assert found["nbdeploy_request_duration_seconds_bucket{le=0.3,route=/predict,version=1.0.0,worker=3}"] == 30
    assert found["nbdeploy_request_duration_seconds_count{route=/predict,version=1.0.0,worker=3}"] == 42
    assert requests(found, "1.1.0") == 1
    mine.close()
    other.close()


def test_f57_versions_of_long_ago_are_forgotten_and_the_last_ones_kept(tmp_path: Path) -> None:
    mine = begun(tmp_path, "99.0.0")
    for number in range(counters.REMEMBERED + 5):
        short = begun(tmp_path, f"1.{number}.0")
        short.answered("/predict", 0.001, 1)
        short.close()
        text = mine.text()
    found = samples(text)
    assert requests(found, "1.0.0") == 0
    assert requests(found, f"1.{counters.REMEMBERED + 4}.0") == 1
    versions = {name for name in found if name.startswith("nbdeploy_worker_starts_total")}
    assert len(versions) == counters.REMEMBERED + 1
    mine.close()


def test_a_fault_of_ours_is_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(log=PredictionLog(tmp_path))
    monkeypatch.setattr(app.batcher, "submit", lambda *_: 1 / 0)
    assert asyncio.run(ask(app, body=rows(1.0))).status == 500
    found = samples(asyncio.run(ask(app, "GET", "/metrics")).body)
    assert found["nbdeploy_requests_total{route=/predict,status=500,version=1.0.0,worker=0}"] == 1
    app.close()


@pytest.mark.slow
def test_promtool_finds_nothing_to_say_about_the_names() -> None:
    """Debian's prometheus brings promtool; see tests/monitoring.py."""
    app = app_of()
    asyncio.run(ask(app, body=rows(1.0)))
    text = asyncio.run(ask(app, "GET", "/metrics")).body
    checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"counts": [[["starts", "1.0',
        b"[]",
        b"7",
        b"\xff",
        b'{"counts": [["x", 1]], "folded": []}',
        b'{"counts": [[["a", "1", "0"], "x"]], "folded": []}',
        b'{"counts": [], "folded": 3}',
    ],
)
def test_a_torn_file_of_the_dead_is_moved_aside_and_counting_goes_on(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    mine = begun(tmp_path)
    mine.answered("/predict", 0.001, 1)
    (tmp_path / counters.RETIRED).write_bytes(content)
    assert requests(samples(mine.text())) == 1
    assert (tmp_path / counters.ALIEN).read_bytes() == content
    assert "begin anew" in caplog.text
    end(worker(tmp_path, "1.0.0", 5))
    assert requests(samples(mine.text())) == 6
    assert requests(samples(mine.text())) == 6
    mine.close()


def test_the_counts_of_the_dead_are_on_the_disk_before_they_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = begun(tmp_path)
    end(worker(tmp_path, "1.0.0", 5))

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="bad disk"):
            mine.text()
    assert not (tmp_path / counters.RETIRED).exists()
    assert requests(samples(mine.text())) == 5
    mine.close()
