"""Counts as Prometheus text, format 0.0.4; names and units as in https://prometheus.io/docs/practices/naming/."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .counters import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .counters import Counts, Sums

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
VERSION = ("version",)
WORKER = (*VERSION, "worker")
ROUTE = (*WORKER, "route")
MICRO = 1e-6


@dataclass(frozen=True)
class Family:
    """`key` is the name in counters.py; its counts times `unit` are Prometheus' base unit."""

    key: str
    name: str
    text: str
    labels: tuple[str, ...]
    unit: float = 1


COUNTERS = (
    Family("requests", "nbdeploy_requests_total", "Requests answered.", (*ROUTE, "status")),
    Family("rows", "nbdeploy_rows_total", "Rows answered.", ROUTE),
    Family("calls", "nbdeploy_model_calls_total", "Calls of the model; one may answer several requests.", ROUTE),
    Family("call_microseconds", "nbdeploy_model_seconds_total", "Time spent in the model.", ROUTE, MICRO),
    Family(
        "unlogged_rows",
        "nbdeploy_unlogged_rows_total",
        "Rows answered that the prediction log could not keep.",
        WORKER,
    ),
    Family("starts", "nbdeploy_worker_starts_total", "Workers that took up this version in this place.", WORKER),
    Family(
        "cpu_microseconds",
        "nbdeploy_worker_cpu_seconds_total",
        "Processor time of workers since they took up this version.",
        WORKER,
        MICRO,
    ),
)
GAUGES = (
    Family("info", "nbdeploy_info", "Versions with a living worker.", (*VERSION, "digest")),
    Family("workers", "nbdeploy_workers", "Living workers, also those that only finish what they began.", VERSION),
    Family("expected", "nbdeploy_workers_expected", "Workers this version was started with.", VERSION),
    Family("ready", "nbdeploy_workers_ready", "Workers that take requests.", VERSION),
    Family("degraded", "nbdeploy_workers_degraded", "Workers whose prediction log cannot be written.", VERSION),
    Family("in_flight", "nbdeploy_requests_in_flight", "Requests being read, queued or answered.", WORKER),
    Family("resident_bytes", "nbdeploy_worker_resident_memory_bytes", "Resident memory of a worker.", WORKER),
    Family(
        "began_microseconds",
        "nbdeploy_worker_start_time_seconds",
        "When a worker took up this version, in seconds since 1970.",
        WORKER,
        MICRO,
    ),
)
LATENCY = Family(
    "bucket",
    "nbdeploy_request_duration_seconds",
    "From the arrival of a request to its answer by the model.",
    ROUTE,
    MICRO,
)


def render(name: str, counts: Counts) -> bytes:
    lines = [
        *(line for family in COUNTERS for line in _plain(family, "counter", counts.counters)),
        *_latency(counts.counters),
        *(line for family in GAUGES for line in _plain(family, "gauge", counts.gauges, name)),
    ]
    return "\n".join([*lines, ""]).encode()


def _plain(family: Family, kind: str, sums: Sums, name: str = "") -> Iterator[str]:
    yield from _head(family, kind)
    for key in sorted(key for key in sums if key[0] == family.key):
        named = {"name": name} if family.key == "info" else {}
        labels = _labels(named | dict(zip(family.labels, key[1:], strict=True)))
        yield f"{family.name}{labels} {sums[key] * family.unit:.16g}"


def _latency(sums: Sums) -> Iterator[str]:
    """Buckets are stored each for itself; Prometheus wants them cumulative."""
    yield from _head(LATENCY, "histogram")
    found: dict[tuple[str, ...], dict[float, int]] = defaultdict(dict)
    for key, count in sums.items():
        if key[0] == LATENCY.key:
            found[key[1:-1]][float(key[-1])] = count
    for series, counts in sorted(found.items()):
        labels = dict(zip(LATENCY.labels, series, strict=True))
        running = 0
        for bound in sorted({*counts, *BOUNDS, float("inf")}):
            running += counts.get(bound, 0)
            text = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f"{LATENCY.name}_bucket{_labels(labels | {'le': text})} {running}"
        yield f"{LATENCY.name}_sum{_labels(labels)} {sums[('microseconds', *series)] * LATENCY.unit:.16g}"
        yield f"{LATENCY.name}_count{_labels(labels)} {running}"


def _head(family: Family, kind: str) -> tuple[str, str]:
    return f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {kind}"


def _labels(named: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in named.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
