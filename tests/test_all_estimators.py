"""Every estimator of scikit-learn is deployed and answers as here, or is refused with the reason."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bundles import assert_identical, body_of, write_src
from sklearn.base import RegressorMixin
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators

from nbdeploy.capture.golden import observe
from nbdeploy.capture.schema import infer
from nbdeploy.errors import NbdeployError
from nbdeploy.runtime import answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.runtime.manifest import Manifest

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(900)]

ROWS = 60
LARGEST_SHARE = 0.05
CHILD = """
import pickle, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from nbdeploy.runtime.answers import dumps
from nbdeploy.runtime.model import ServedModel
found = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        served = ServedModel.load(folder / "src")
        request = served.decode((folder / "body.json").read_bytes())
        replies = {method.name: dumps(served.answer(method.name, request.rows)) for method in served.manifest.methods}
        found[folder.name] = (served.verify(), replies)
    except Exception as exc:
        found[folder.name] = ([f"{type(exc).__name__}: {exc}"], {})
Path(sys.argv[2]).write_bytes(pickle.dumps(found))
"""


@dataclass
class Deployed:
    model: Any
    sample: Any
    rows: Any
    manifest: Manifest


def test_every_estimator_answers_away_as_here_or_is_refused_with_the_reason(tmp_path: Path) -> None:
    deployed, refused, unfit = _deployed(tmp_path / "bundles")
    found = _answered_by_a_child(tmp_path)
    wrong = {name: problem for name in deployed if (problem := _problem(deployed[name], *found[name]))}

    print(f"\n{len(deployed)} estimators deployed, {len(refused)} refused:")  # the list is asked for
    print("\n".join(f"  {name}: {reason}" for name, reason in refused.items()))  # as above
    assert not wrong
    assert not unfit
    assert len(refused) <= LARGEST_SHARE * (len(deployed) + len(refused))


def _deployed(folder: Path) -> tuple[dict[str, Deployed], dict[str, str], dict[str, str]]:
    deployed, refused, unfit = {}, {}, {}
    for name, kind in all_estimators():
        fitted = _fitted(name, kind)
        if fitted is None:
            unfit[name] = "no data of this test fits it"
            continue
        model, sample = fitted
        try:
            schema = infer(sample)
            observed = observe(model, sample, schema)
        except NbdeployError as exc:
            refused[name] = str(exc)
            continue
        manifest = write_src(folder / name / "src", model, observed)
        rows = sample[:12]
        (folder / name / "body.json").write_bytes(body_of(observed.schema, rows))
        deployed[name] = Deployed(model, sample, rows, manifest)
    return deployed, refused, unfit


def _answered_by_a_child(tmp_path: Path) -> dict[str, tuple[list[str], dict[str, bytes]]]:
    result = tmp_path / "answers.pkl"
    subprocess.run([sys.executable, "-c", CHILD, tmp_path / "bundles", result], check=True, timeout=400)
    return pickle.loads(result.read_bytes())  # type: ignore[no-any-return]


def _problem(one: Deployed, differences: list[str], replies: dict[str, bytes]) -> str:
    if differences:
        return differences[0]
    for method in one.manifest.methods:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = getattr(one.model, method.name)(one.rows)
        answered = answers.decode(method.output, _parsed(replies[method.name]), index=getattr(one.rows, "index", None))
        if not method.deterministic:
            continue
        try:
            assert_identical(expected, answered)
        except AssertionError as exc:
            return f"{method.name}: {exc}"
    return ""


def _parsed(reply: bytes) -> Any:
    import json

    return json.loads(reply)


def _fitted(name: str, kind: Any) -> tuple[Any, Any] | None:
    """A model and its sample: the first data it can be fitted on."""
    for sample, target in _data(name, kind):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = _made(name, kind)
                model.fit(sample, target) if target is not None else model.fit(sample)
        except Exception:  # noqa: BLE001  # the next data may fit
            continue
        return model, sample
    return None


def _data(name: str, kind: Any) -> Iterator[tuple[Any, Any]]:
    features, group = make_blobs(n_samples=ROWS, n_features=4, centers=3, random_state=0)
    frame = pd.DataFrame(MinMaxScaler((0.1, 1)).fit_transform(features), columns=["a", "b", "c", "d"])
    classes = np.array(["low", "mid", "high"])[group]
    number = frame["a"] * 2 + frame["b"] + 0.5
    texts = [f"the {word} number {place % 7}" for place, word in enumerate(classes)]
    if name in _SPECIAL:
        yield _SPECIAL[name](frame, classes, texts)
        return
    if issubclass(kind, RegressorMixin):
        yield frame, number
        yield frame, pd.DataFrame({"one": number, "two": frame["c"]})
    yield frame, classes
    yield frame, np.where(group == 0, "no", "yes")
    yield frame, group
    yield frame, number
    yield frame, pd.DataFrame({"one": number, "two": frame["c"]})
    yield frame, pd.DataFrame({"one": group == 1, "two": group == 2}).astype(int)
    yield frame[["a"]], number
    yield frame, None


_SPECIAL: dict[str, Any] = {
    "CountVectorizer": lambda _frame, _classes, texts: (texts, None),
    "TfidfVectorizer": lambda _frame, _classes, texts: (texts, None),
    "HashingVectorizer": lambda _frame, _classes, texts: (texts, None),
    "FeatureHasher": lambda frame, _classes, _texts: (frame.to_dict("records"), None),
    "DictVectorizer": lambda frame, _classes, _texts: (frame.to_dict("records"), None),
    "LabelEncoder": lambda _frame, classes, _texts: (pd.Series(classes), None),
    "LabelBinarizer": lambda _frame, classes, _texts: (pd.Series(classes), None),
    "MultiLabelBinarizer": lambda _frame, classes, _texts: ([[one, "all"] for one in classes], None),
    "KernelCenterer": lambda frame, _classes, _texts: (frame.iloc[:4], None),
    "PatchExtractor": lambda _frame, _classes, _texts: (np.arange(20 * 12 * 12.0).reshape(20, 12, 12), None),
}

_ARGUMENTS: dict[str, Any] = {
    "ColumnTransformer": lambda: {
        "transformers": [("scale", StandardScaler(), ["a", "b"]), ("rest", "passthrough", ["c"])]
    },
    "FeatureUnion": lambda: {"transformer_list": [("scale", StandardScaler()), ("pca", PCA(2))]},
    "Pipeline": lambda: {"steps": [("scale", StandardScaler()), ("model", LogisticRegression())]},
    "GridSearchCV": lambda: {"estimator": LogisticRegression(), "param_grid": {"C": [0.1, 1.0]}},
    "HalvingGridSearchCV": lambda: {"estimator": LogisticRegression(), "param_grid": {"C": [0.1, 1.0]}},
    "RandomizedSearchCV": lambda: {
        "estimator": LogisticRegression(),
        "param_distributions": {"C": [0.1, 1.0]},
        "n_iter": 2,
    },
    "HalvingRandomSearchCV": lambda: {"estimator": LogisticRegression(), "param_distributions": {"C": [0.1, 1.0]}},
    "SparseCoder": lambda: {"dictionary": np.eye(4)},
    "StackingClassifier": lambda: {
        "estimators": [("a", LogisticRegression()), ("b", RandomForestClassifier(5, random_state=0))]
    },
    "VotingClassifier": lambda: {
        "estimators": [("a", LogisticRegression()), ("b", RandomForestClassifier(5, random_state=0))],
        "voting": "soft",
    },
    "StackingRegressor": lambda: {"estimators": [("a", LinearRegression())]},
    "VotingRegressor": lambda: {"estimators": [("a", LinearRegression())]},
    "MultiOutputClassifier": lambda: {"estimator": RandomForestClassifier(5, random_state=0)},
    "FrozenEstimator": lambda: {"estimator": StandardScaler().set_output(transform="pandas").fit(_frame())},
    "TransformedTargetRegressor": lambda: {"regressor": LinearRegression()},
    "LocalOutlierFactor": lambda: {"novelty": True},
    "SelectFromModel": lambda: {"estimator": RandomForestClassifier(5, random_state=0)},
    "GaussianRandomProjection": lambda: {"n_components": 2},
    "SparseRandomProjection": lambda: {"n_components": 2},
    "TSNE": lambda: {"max_iter": 250, "perplexity": 5},
}
_REGRESSOR = {"MultiOutputRegressor", "RegressorChain"}
_BASED = {
    "ClassifierChain",
    "FixedThresholdClassifier",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "RFE",
    "RFECV",
    "SelfTrainingClassifier",
    "SequentialFeatureSelector",
    "TunedThresholdClassifierCV",
}


def _frame() -> pd.DataFrame:
    return pd.DataFrame(np.arange(ROWS * 4.0).reshape(ROWS, 4), columns=["a", "b", "c", "d"])


def _made(name: str, kind: Any) -> Any:
    if name in _ARGUMENTS:
        return kind(**_ARGUMENTS[name]())
    if name in _REGRESSOR:
        return kind(LinearRegression())
    return kind(LogisticRegression()) if name in _BASED else kind()
