"""`Calibrator`: a classifier's probabilities corrected by what labelled rows turned out to be.

Temperature scaling with a constant for each label (Alexandari, Kundaje and Shrikumar 2020, "Maximum likelihood with
bias-corrected calibration is hard-to-beat at label shift adaptation"): few parameters, so it does not promise too much for
the label that it makes the answer, as isotonic curves of the labels did when tried. Resampled corrections say how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 100  # labelled rows
RESAMPLED = 100
SMALLEST = 1e-6  # share; a forest's 0 is no certainty
MANY = 12  # labels; with more, only the temperature is learnt
PENALTY = 0.01
STEPS = 30


@dataclass(frozen=True, eq=False)
class Calibrator:
    """`weights[0]` is learnt from all `rows`, the others from resamples: the factor of the logarithms of the shares, then a
    constant for each label.
    """

    rows: int
    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, shares: NDArray[np.float64], truth: NDArray[np.intp]) -> Calibrator:
        """`truth` holds the places of the labels in the columns of `shares`; not those of the training rows, which the
        model knows by heart.

        Raises:
            WrongUse: there are too few rows, or only one label among them.
        """
        if len(truth) < FEWEST or len(np.unique(truth)) < 2:
            raise WrongUse(
                f"{len(truth)} rows with {len(np.unique(truth))} labels are too few to correct probabilities by; "
                f"{FEWEST} rows and 2 labels are needed."
            )
        random = np.random.default_rng(0)
        picks = [np.arange(len(truth))]
        while len(picks) <= RESAMPLED:
            pick = random.integers(0, len(truth), len(truth))
            if len(np.unique(truth[pick])) > 1:
                picks.append(pick)
        return cls(len(truth), np.stack([_weights(shares[pick], truth[pick]) for pick in picks]))

    def corrected(self, shares: NDArray[np.float64], number: int | None = None) -> NDArray[np.float64]:
        """By all rows, or by the resample of a number."""
        weights = self.weights[0 if number is None else 1 + number % (len(self.weights) - 1)]
        return np.asarray(special.softmax(_logarithms(shares) * weights[0] + weights[1:], axis=1))


def _logarithms(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(shares, SMALLEST)))


def _weights(shares: NDArray[np.float64], truth: NDArray[np.intp]) -> NDArray[np.float64]:
    """The most likely ones, by Newton's method; a small penalty draws them to those that correct nothing."""
    rows, count = shares.shape
    free = count if count <= MANY else 0
    design = np.zeros((rows, count, 1 + free))
    design[:, :, 0] = _logarithms(shares)
    design[:, np.arange(free), 1 + np.arange(free)] = 1.0
    start = np.zeros(1 + free)
    start[0] = 1.0
    found = start.copy()
    for _ in range(STEPS):
        chances = special.softmax(design @ found, axis=1)
        mean = np.einsum("ik,ikp->ip", chances, design)
        slope = (design[np.arange(rows), truth] - mean).sum(axis=0) - PENALTY * (found - start)
        weighted = design * np.sqrt(chances)[:, :, None]
        flat = weighted.reshape(-1, 1 + free)
        bend = flat.T @ flat - mean.T @ mean + PENALTY * np.eye(1 + free)
        step = np.linalg.solve(bend, slope)
        found = found + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    found[0] = max(found[0], 0.0)
    return np.concatenate([found, np.zeros(count - free)])
