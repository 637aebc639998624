"""A BentoML service for a model of its store, written by hand as its documents show it; built, then served by its tag."""

from __future__ import annotations

import bentoml
import numpy as np
import pandas as pd  # noqa: TC002  # BentoML reads the annotations


@bentoml.service(name="by-hand")
class ByHand:
    kept = bentoml.models.BentoModel("by-hand:latest")

    def __init__(self) -> None:
        self.model = bentoml.sklearn.load_model(self.kept)

    @bentoml.api  # type: ignore[untyped-decorator]  # it has no types here
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict(rows))
