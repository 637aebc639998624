"""The smallest shift that a threshold makes visible at this traffic: what the false-alarm budget costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from nbdeploy.watch.distance import shares
from nbdeploy.watch.null import statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nbdeploy.watch.cells import Cells

POWER = 0.8  # Cohen 1988, "Statistical Power Analysis", 2.4
STEPS = 12
DRAWS = 250


def smallest_share(rows: int, windows: int, high: float) -> float | None:
    """The share that reaches the limit `high` in each of `windows` windows of `rows` with probability POWER."""
    count = round(high * rows)
    if count > rows:
        return None
    return float(special.betaincinv(max(count, 1), rows - count + 1, POWER ** (1 / windows)))


def smallest_shift(
    cells: Cells, thresholds: Mapping[str, float], rows: int, windows: int, random: np.random.Generator
) -> float | None:
    """Of the mean, in training standard deviations; of the largest category's share where there is no order.

    Of all populations with such a mean the one nearest to the training sample is tried, so that another is rather more
    visible; see `tilted`. None: not even the largest of the sizes tried is visible.
    """
    trained = shares(cells.reference)
    changed = _largest_share if cells.positions is None else tilted
    sizes = np.geomspace(0.01, 3.0 if cells.positions is not None else 1 - float(trained.max()) or 0.01, STEPS)
    populations = np.array([changed(trained, cells.positions, size) for size in sizes])
    weights = populations * cells.reference.sum() + cells.prior
    draws = random.multinomial(rows, shares(random.standard_gamma(weights, size=(DRAWS, *weights.shape))))
    seen = np.any([found >= thresholds[name] for name, found in statistics(cells, draws).items()], axis=0)
    power = np.maximum.accumulate(seen.mean(axis=0) ** windows)
    if power[-1] < POWER:
        return None
    place = int(np.argmax(power >= POWER))
    if place == 0:
        return float(sizes[0])
    part = (POWER - power[place - 1]) / (power[place] - power[place - 1])
    return float(sizes[place - 1] * (sizes[place] / sizes[place - 1]) ** part)


def tilted(trained: NDArray[np.float64], positions: Any, shift: float) -> NDArray[np.float64]:
    """The shares nearest to `trained` in Kullback-Leibler divergence whose mean is `shift` higher: exponential tilting
    (Csiszar 1975, Annals of Probability 3, 146). Normal values are moved as they are.
    """
    low, high = 0.0, 64.0
    wanted = float(trained @ positions) + shift
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _tilt(trained, positions, middle) @ positions < wanted else (low, middle)
    return _tilt(trained, positions, high)


def _tilt(trained: NDArray[np.float64], positions: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    return shares(trained * np.exp(by * np.minimum(positions - positions[trained > 0].max(), 0.0)))


def _largest_share(trained: NDArray[np.float64], _positions: Any, more: float) -> NDArray[np.float64]:
    """The largest category takes from all others alike."""
    largest = int(trained.argmax())
    others = trained * (1 - trained[largest] - more) / max(1 - trained[largest], 1e-12)
    others[largest] = trained[largest] + more
    return shares(np.maximum(others, 0.0))
