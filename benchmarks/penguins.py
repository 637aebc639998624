"""The work: a mixed pipeline, two columns of text and four of numbers, asked for one JSON row at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from palmerpenguins import load_penguins
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

TEXTS = ["island", "sex"]
NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def data() -> tuple[pd.DataFrame, pd.Series]:
    frame = load_penguins()
    return frame[TEXTS + NUMBERS], frame["species"]


def fitted() -> Pipeline:
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer((texts, TEXTS), (numbers, NUMBERS))
    return make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(*data())


def requests(model: Pipeline, count: int = 50) -> list[dict[str, Any]]:
    """Bodies of one complete row each, and the part of the answer that must come back."""
    rows = data()[0].dropna().sample(count, random_state=0)
    labels = model.predict(rows)
    bodies = [{"rows": [row]} for row in json.loads(rows.to_json(orient="records"))]
    return [{"body": json.dumps(body), "expect": f'["{label}"]'} for body, label in zip(bodies, labels, strict=True)]
