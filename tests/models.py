"""Small fitted models for tests, and the data they were fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Fitted:
    model: Any
    X: Any
    y: Any


def frame(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two text columns, two numbers, one whole number; some values missing."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(
        {
            "island": rng.choice(["Biscoe", "Dream", "Torgersen"], rows),
            "sex": rng.choice(["female", "male"], rows),
            "bill": rng.normal(44, 5, rows).round(1),
            "mass": rng.normal(4200, 800, rows).round(),
            "age": rng.integers(1, 20, rows),
        }
    )
    made.loc[made.index[::17], "bill"] = np.nan
    return made


@cache
def classifier(C: float = 1.0, *, columns: tuple[str, ...] = ("island", "sex", "bill", "mass", "age")) -> Fitted:
    """A pipeline of the usual kind: one-hot, imputer, scaler, logistic regression. Fitted once; do not change it."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X = frame()[list(columns)]
    y = pd.Series(np.where(X["mass"] > 4200, "heavy", "light"), name="weight")
    steps = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
    )
    return Fitted(make_pipeline(steps, LogisticRegression(C=C)).fit(X, y), X, y)


@cache
def plain(C: float = 1.0, *, columns: tuple[str, ...] = ("bill", "mass", "age")) -> Fitted:
    """A model of numbers alone, whose calls cost next to nothing. Fitted once; do not change it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = frame().fillna({"bill": 44.0})[list(columns)]
    y = pd.Series(np.where(X["mass"] > 4200, "heavy", "light"), name="weight")
    return Fitted(make_pipeline(StandardScaler(), LogisticRegression(C=C)).fit(X, y), X, y)


def halved(rows: pd.DataFrame) -> pd.Series[float]:
    """A rule instead of a model."""
    return rows["mass"] / 2
