"""How long one row takes, asked one after the other on one connection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.served import Served

REQUESTS = 100  # of one round
WARM = 5
ROUNDS = 3
SECONDS = 10.0  # for all rounds; a slow model is asked less often


@dataclass(frozen=True)
class Latency:
    """Milliseconds, of the best round."""

    p50: float
    p95: float
    p99: float
    requests: int
    rounds: int


def latency(served: Served, method: str, rows: Sequence[Any], budget: float) -> Latency:
    """The first round within `budget`, else the best of ROUNDS: other work on the machine can only add to a time."""
    for place in range(WARM):
        served.client.predictions(method, [rows[place % len(rows)]])
    until = time.monotonic() + SECONDS
    found: list[Latency] = []
    for number in range(1, ROUNDS + 1):
        found.append(_round(served, method, rows, number, until))
        if found[-1].p95 <= budget or time.monotonic() >= until:
            break
    return min(found, key=lambda one: one.p95)


def _round(served: Served, method: str, rows: Sequence[Any], number: int, until: float) -> Latency:
    import numpy as np

    times = []
    for place in range(REQUESTS):
        start = time.perf_counter()
        served.client.predictions(method, [rows[place % len(rows)]])
        times.append((time.perf_counter() - start) * 1000)
        if time.monotonic() >= until:
            break
    p50, p95, p99 = (float(value) for value in np.percentile(times, [50, 95, 99]))
    return Latency(p50, p95, p99, len(times), number)
