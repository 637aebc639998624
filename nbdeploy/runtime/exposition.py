"""Counts as Prometheus text, format 0.0.4."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from .counters import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .counters import Sums
    from .identity import Identity

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
COUNTERS = (
    ("requests", "nbdeploy_requests_total", "Requests answered.", ("route", "version", "status"), 1),
    ("rows", "nbdeploy_rows_total", "Rows answered.", ("route", "version"), 1),
    (
        "calls",
        "nbdeploy_model_calls_total",
        "Calls of the model; one may answer several requests.",
        ("route", "version"),
        1,
    ),
    (
        "call_microseconds",
        "nbdeploy_model_seconds_total",
        "Time spent in the model.",
        ("route", "version"),
        1e-6,
    ),
    ("unlogged_rows", "nbdeploy_unlogged_rows_total", "Rows answered that the prediction log could not keep.", (), 1),
)
GAUGES = (
    ("workers", "nbdeploy_workers", "Living workers of this service."),
    ("in_flight", "nbdeploy_requests_in_flight", "Requests being read, queued or answered."),
    ("ready", "nbdeploy_workers_ready", "Workers that take requests."),
    ("degraded", "nbdeploy_workers_degraded", "Workers whose prediction log cannot be written."),
)


def render(identity: Identity, sums: Sums) -> bytes:
    lines = [*_info(identity), *_counters(sums), *_latency(sums), *_gauges(sums)]
    return "\n".join([*lines, ""]).encode()


def _info(identity: Identity) -> Iterator[str]:
    yield from _head("nbdeploy_info", "gauge", "What answered this scrape.")
    labels = _labels(("name", "version", "digest"), (identity.name, identity.label, identity.digest))
    yield f"nbdeploy_info{labels} 1"


def _counters(sums: Sums) -> Iterator[str]:
    for what, name, text, labels, unit in COUNTERS:
        yield from _head(name, "counter", text)
        if not labels:
            yield f"{name} {sums[what,]}"
            continue
        for key in sorted(key for key in sums if key[0] == what):
            yield f"{name}{_labels(labels, key[1:])} {sums[key] * unit:.15g}"


def _latency(sums: Sums) -> Iterator[str]:
    """Buckets are stored each for itself; Prometheus wants them cumulative."""
    name = "nbdeploy_request_seconds"
    yield from _head(name, "histogram", "From the arrival of a request to its answer by the model.")
    found: dict[tuple[str, ...], dict[int, int]] = defaultdict(dict)
    for key in sums:
        if key[0] == "bucket":
            found[key[1:3]][int(key[3])] = sums[key]
    for series, counts in sorted(found.items()):
        running = 0
        for number, bound in enumerate((*(f"{bound:g}" for bound in BOUNDS), "+Inf")):
            running += counts.get(number, 0)
            yield f"{name}_bucket{_labels(('route', 'version', 'le'), (*series, bound))} {running}"
        labels = _labels(("route", "version"), series)
        yield f"{name}_sum{labels} {sums[('microseconds', *series)] * 1e-6:.15g}"
        yield f"{name}_count{labels} {running}"


def _gauges(sums: Sums) -> Iterator[str]:
    for what, name, text in GAUGES:
        yield from _head(name, "gauge", text)
        yield f"{name} {sums[('gauge', what)]}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
