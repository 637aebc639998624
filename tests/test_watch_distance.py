"""Distances of counts beside scipy's own: the same on the same cells, near on the raw values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance as scipy_distance
from scipy.stats import contingency

from nbdeploy.capture.counts import Bins, Counts, counts_of
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.distance import NAMES, cramers_v, distances, jensen_shannon, psi, shares, wasserstein
from nbdeploy.watch.quantiles import quantiles

COUNTS = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)


def bins(values: Any) -> Counts:
    return counts_of("number", values, None)


@given(COUNTS, COUNTS)
@settings(max_examples=60)
def test_distances_of_cells_are_those_of_scipy(left: list[int], right: list[int]) -> None:
    a, b = np.array(left, float), np.array(right, float)
    p, q = shares(a), shares(b)
    assert jensen_shannon(p, q) == pytest.approx(scipy_distance.jensenshannon(p, q, base=2), abs=1e-7)
    places = np.array([-1.0, 0.0, 2.0, 7.0])
    assert wasserstein(p, q, places) == pytest.approx(stats.wasserstein_distance(places, places, p, q), abs=1e-12)
    table = np.array([a, b])[:, a + b > 0]
    if table.shape[1] > 1:
        assert cramers_v(a, b) == pytest.approx(contingency.association(table.astype(int), method="cramer"), abs=1e-9)
    if a.all() and b.all():
        assert psi(a, b) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))
    assert psi(a, a) == cramers_v(a, a) == 0


@pytest.mark.parametrize("change", [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (0.0, 1.5), (-3.0, 1.0), (40.0, 1.0)])
@pytest.mark.parametrize("draw", ["normal", "exponential", "gamma"])
def test_wasserstein_of_bins_is_near_that_of_the_raw_values(draw: str, change: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    sample: dict[str, Any] = {
        "normal": random.normal,
        "exponential": random.exponential,
        "gamma": lambda size: random.gamma(2, size=size),
    }
    trained, served = sample[draw](size=20_000), sample[draw](size=5_000) * change[1] + change[0]
    exact = stats.wasserstein_distance(trained, served) / trained.std()
    reference = bins(trained)
    found = distances(reference, reference.counted(served))["wasserstein"]
    # A bin says where a value lies to a twentieth of the sample; a twelfth of the distance is the price. Far outside the
    # training range buckets double their width.
    assert found == pytest.approx(exact, rel=0.08 if change[0] < 10 else 0.12, abs=0.03)


def test_wasserstein_of_few_whole_numbers_is_exact() -> None:
    random = np.random.default_rng(0)
    trained, served = random.poisson(2, 5_000), random.poisson(2.4, 1_000)
    reference = bins(trained.astype(float))
    exact = stats.wasserstein_distance(trained, served) / trained.std()
    assert distances(reference, reference.counted(served.astype(float).tolist()))["wasserstein"] == pytest.approx(
        exact, rel=0.01
    )


def test_what_cannot_be_computed_is_named_and_hides_nothing() -> None:
    constant = bins([3.0] * 50)
    found = distances(constant, constant.counted([3.0] * 25 + [4.0] * 25))
    assert found["wasserstein"] == NotComputable("it is constant in the training sample")
    assert isinstance(found["psi"], float)
    assert found["psi"] > 1
    words = counts_of("category", ["a", "b"] * 20, None)
    assert distances(words, words)["wasserstein"] == NotComputable("categories have no order")
    for other, reason in [
        (None, "it is not in this window"),
        (words, "it was counted over other bins"),
        (constant.counted([None] * 30), "every value is missing"),
        (constant.counted([3.0] * 5), "too few values: 5, at least 20 are needed"),
    ]:
        assert distances(constant, other) == dict.fromkeys(NAMES, NotComputable(reason))
    assert plain(NotComputable("x")) == {"not_computable": "x"}
    assert str(NotComputable("x")) == "not computable (x)"
    assert distances(None, words)["psi"] == NotComputable("it was not counted in the training sample")


def test_infinite_values_have_a_distance() -> None:
    reference = bins(np.random.default_rng(0).normal(size=1_000))
    found = distances(reference, reference.counted([0.0] * 30 + [np.inf, -np.inf]))
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())
    infinite = bins([np.inf, -np.inf, *range(100)])
    assert all(np.isfinite(value) for value in distances(infinite, infinite).values() if isinstance(value, float))


def test_quantiles_of_counts_are_near_those_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=5_000)
    counted = bins(values)
    assert isinstance(counted, Bins)
    assert quantiles(counted, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]), abs=0.01)
    assert quantiles(counted, [0.0, 1.0]) == pytest.approx([values.min(), values.max()])
    assert quantiles(counted.counted([]), [0.5]) is None
