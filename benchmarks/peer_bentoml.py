"""BentoML's stock DataFrame API, written by hand as its documents show it."""

from __future__ import annotations

import os

import bentoml
import joblib
import numpy as np
import pandas as pd  # noqa: TC002  # BentoML reads the annotations


@bentoml.service(name="stock")
class Stock:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]  # it has no types here
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict(rows))
