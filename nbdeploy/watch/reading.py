"""`Reading`: one window of a service in numbers, under the names that rules and the page use.

    requests, requests_per_second, rows                      counts; a rate over the window as far as it has gone
    error_rate, refused_rate                                 shares of the requests: 5xx, 4xx
    p50_ms, p95_ms, p99_ms                                   of the answered requests
    missing@COL, unseen@COL, out_of_range@COL, odd@COL       shares of the rows
    duplicates                                               share of the rows that came before in this window
    drift@COL, drift@prediction                              the leading test over its threshold; above 1 is beyond it
    drifted_columns                                          beyond it for as many windows on end as the budget asks
    accuracy, f1_macro, mae, r2, ...                         of the rows that have a label by now
    coverage                                                 the share of the rows that have one
    expected_accuracy, expected_f1_macro, ...                without labels, from the probabilities

Metrics also have NAME.low and NAME.high, the ends of their interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.judge.metrics import METRICS, Metric
from nbdeploy.watch.computable import NotComputable, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

EXPECTED = "expected_"  # before the name of a metric


@dataclass(frozen=True)
class Reading:
    """`ended` is not part of the window; one that lies in the future has not closed yet. `version` is the one that
    answered, None where there were several, or none.
    """

    began: datetime
    ended: datetime
    version: str | None
    values: Mapping[str, float | NotComputable] = field(default_factory=dict)

    @property
    def length(self) -> timedelta:
        return self.ended - self.began

    def value(self, name: str) -> float | NotComputable:
        """What was read, or why there is nothing."""
        if name in self.values:
            return self.values[name]
        base = name.partition("@")[0].removesuffix(".low").removesuffix(".high")
        return self.values.get(base, NotComputable(f"{name} is not read of this service"))

    def closed(self, now: datetime) -> bool:
        return self.ended <= now

    def to_dict(self) -> dict[str, Any]:
        return {
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "version": self.version,
            "values": {name: plain(value) for name, value in self.values.items()},
        }


def known(name: str) -> Metric | None:
    """What is known of a reading's name: which way is better, in which unit, under which title."""
    base = name.partition("@")[0].removesuffix(".low").removesuffix(".high")
    if base in READ:
        return READ[base]
    found = METRICS.get(base.removeprefix(EXPECTED))
    if found is None or not base.startswith(EXPECTED):
        return found
    return Metric(base, f"{found.title}, expected without labels", found.greater_is_better, found.unit)


_READ = {
    "requests": ("Requests", None, "requests"),
    "requests_per_second": ("Request rate", None, "requests/s"),
    "error_rate": ("Failed requests (5xx)", False, "share"),
    "refused_rate": ("Refused requests (4xx)", False, "share"),
    "p50_ms": ("Latency, median", False, "ms"),
    "p95_ms": ("Latency, 95th percentile", False, "ms"),
    "p99_ms": ("Latency, 99th percentile", False, "ms"),
    "rows": ("Rows", None, "rows"),
    "missing": ("Missing values", False, "share"),
    "unseen": ("Values not seen in training", False, "share"),
    "out_of_range": ("Values outside the range seen in training", False, "share"),
    "odd": ("Values of another type", False, "share"),
    "duplicates": ("Duplicate rows", False, "share"),
    "drift": ("Distance from training over its threshold", False, ""),
    "drifted_columns": ("Drifted columns", False, "columns"),
    "coverage": ("Rows with a label", True, "share"),
}
READ: dict[str, Metric] = {
    name: Metric(name, title, greater_is_better=better, unit=unit) for name, (title, better, unit) in _READ.items()
}
