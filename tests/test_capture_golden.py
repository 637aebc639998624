from __future__ import annotations

import json
import random
import signal
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from bundles import assert_identical, body_of
from models import classifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nbdeploy.capture.golden import Observed, observe
from nbdeploy.capture.schema import infer
from nbdeploy.errors import NotAModel, NotServable
from nbdeploy.runtime.manifest import Column, Manifest
from nbdeploy.runtime.model import ServedModel

ISLANDS = ["Biscoe", "Dream", "Torgersen"]


def penguins(rows: int = 120) -> tuple[pd.DataFrame, Any]:
    chance = np.random.default_rng(0)
    species = chance.integers(0, 3, rows)
    frame = pd.DataFrame(
        {
            "island": np.array(ISLANDS)[(species + chance.integers(0, 2, rows)) % 3],
            "bill": 38 + 5.0 * species + chance.normal(size=rows),
            "mass": np.round(3700 + 400.0 * species + chance.normal(size=rows) * 100),
            "year": 2007 + chance.integers(0, 3, rows),
            "sex": np.where(chance.random(rows) > 0.5, "male", "female"),
        }
    )
    frame.loc[[3, 40], "bill"] = np.nan
    frame.loc[[5], "sex"] = None
    return frame, np.array(["Adelie", "Chinstrap", "Gentoo"])[species]


def pipeline(unknown: str = "ignore") -> Any:
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=unknown))
    return make_pipeline(
        make_column_transformer((texts, ["island", "sex"]), remainder=make_pipeline(SimpleImputer(), StandardScaler())),
        LogisticRegression(),
    )


def watched(model: Any, sample: Any, **options: Any) -> Observed:
    return observe(model, sample, infer(sample), **options)


def served(model: Any, observed: Observed) -> ServedModel:
    manifest = Manifest(1, "n", "n", {}, observed.methods, observed.schema, "", {}, {}, {}, digest="", created="")
    return ServedModel(model, Manifest.from_dict(json.loads(manifest.dumps())), json.loads(json.dumps(observed.golden)))


def assert_answers_as_here(model: Any, sample: Any) -> Observed:
    observed = watched(model, sample)
    one = served(model, observed)
    assert one.verify() == []
    request = one.decode(body_of(observed.schema, sample))
    for method in observed.methods:
        replies = json.loads(json.dumps(one.answer(method.name, request.rows), allow_nan=False))
        index = getattr(sample, "index", None)
        assert_identical(getattr(model, method.name)(sample), one.native(method.name, replies, index=index))
    return observed


def column(observed: Observed, name: str) -> Column:
    return next(item for item in observed.schema.columns if item.name == name)


def test_a_mixed_pipeline_is_watched_in_full() -> None:
    frame, labels = penguins()
    model = pipeline().fit(frame, labels)
    observed = assert_answers_as_here(model, frame)
    assert [method.name for method in observed.methods] == [
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    ]
    assert all(method.rowwise and method.deterministic and method.milliseconds > 0 for method in observed.methods)
    assert all(item.nullable for item in observed.schema.columns)
    assert column(observed, "island").unseen
    assert observed.warnings == ()
    names = [case["name"] for case in observed.golden["edge"]]
    assert names == [
        "null in island, bill, mass, sex",
        "null in year",
        "unseen value in island, year, sex",
        "whole numbers for floats",
        "columns reordered",
    ]


def test_the_same_sample_gives_the_same_golden_rows() -> None:
    frame, labels = penguins()
    model = pipeline().fit(frame, labels)
    first, second = watched(model, frame), watched(model, frame)
    assert first.golden == second.golden
    rows = first.golden["rows"]
    assert len(rows) == 20
    assert {row["island"] for row in rows} == set(ISLANDS)
    assert any(row["bill"] is None for row in rows)
    assert any(row["sex"] is None for row in rows)
    assert frame["mass"].max() in {row["mass"] for row in rows}


def test_nulls_are_accepted_where_the_model_answers_them() -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 1, 30), "b": np.linspace(0, 5, 30), "c": range(30)})
    model = make_pipeline(
        make_column_transformer((SimpleImputer(), ["b"]), remainder="passthrough"), LinearRegression()
    ).fit(frame, frame["a"])
    observed = assert_answers_as_here(model, frame)
    assert [item.nullable for item in observed.schema.columns] == [False, True, False]


def test_missing_values_in_the_sample_do_not_decide() -> None:
    frame, labels = penguins()
    complete = frame.dropna()
    numbers = ["bill", "mass"]
    model = LogisticRegression(max_iter=10_000).fit(complete[numbers], labels[complete.index])
    observed = watched(model, frame[numbers])
    assert not column(observed, "bill").nullable
    assert all(row["bill"] is not None for row in observed.golden["rows"])


def test_thirty_columns_without_an_imputer_cost_few_calls() -> None:
    calls = []

    class Counted:
        def predict(self, table: Any) -> Any:
            calls.append(len(table))
            if table.drop(columns="x7").isna().to_numpy().any():
                raise ValueError("NaN")
            return np.zeros(len(table))

    frame = pd.DataFrame(np.ones((40, 30)), columns=[f"x{place}" for place in range(30)])
    observed = watched(Counted(), frame)
    assert [item.name for item in observed.schema.columns if item.nullable] == ["x7"]
    assert len(calls) < 75


def test_unseen_values_are_refused_where_the_model_refuses_them() -> None:
    frame, labels = penguins()
    observed = assert_answers_as_here(pipeline("error").fit(frame, labels), frame)
    assert not column(observed, "island").unseen
    assert column(observed, "island").categories == tuple(ISLANDS)


def test_categories_the_sample_lacks_are_known_from_the_model() -> None:
    frame, labels = penguins()
    model = pipeline("error").fit(frame, labels)
    observed = watched(model, frame[frame["island"] != "Dream"].head(20))
    assert set(column(observed, "island").categories or ()) == set(ISLANDS)


def test_codes_the_model_does_not_know_are_refused() -> None:
    frame = pd.DataFrame({"code": [1, 2, 3] * 10, "x": np.linspace(0, 1, 30)})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["code"]), remainder="passthrough"), LinearRegression()
    )
    observed = assert_answers_as_here(model.fit(frame, frame["x"]), frame)
    found = column(observed, "code")
    assert (found.kind, found.categories, found.unseen) == ("category", (1, 2, 3), False)


def test_free_text_the_model_does_not_know_is_refused() -> None:
    frame = pd.DataFrame({"name": [f"name {place}" for place in range(150)], "x": np.linspace(0, 1, 150)})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["name"]), remainder="passthrough"), LinearRegression()
    )
    found = column(watched(model.fit(frame, frame["x"]), frame), "name")
    assert (found.kind, len(found.categories or ()), found.unseen) == ("category", 150, False)


class Plain:
    """No estimator of any library."""

    def predict(self, table: Any) -> list[float]:
        return [float(value) for value in table["a"]]


def test_any_object_with_predict_is_watched() -> None:
    assert_answers_as_here(Plain(), pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]}))


def test_a_method_that_fails_is_not_served() -> None:
    class Half(Plain):
        def transform(self, table: Any) -> Any:
            raise RuntimeError("not today")

        def score_samples(self, table: Any) -> Any:
            return None

    observed = watched(Half(), pd.DataFrame({"a": [1.5, 2.5]}))
    assert [method.name for method in observed.methods] == ["predict"]
    assert "transform is not served: RuntimeError: not today" in observed.warnings
    assert any("score_samples is not served" in warning for warning in observed.warnings)


def test_a_model_that_does_not_answer_its_sample_is_refused() -> None:
    frame, labels = penguins()
    with pytest.raises(NotServable, match="does not answer the sample's rows: ValueError"):
        watched(pipeline().fit(frame, labels), frame[["bill"]])
    with pytest.raises(NotServable, match="does not answer"):
        watched(LinearRegression(), frame[["mass"]])


class Leaves(Plain):
    """Ends the process for some rows, or for all."""

    def __init__(self, often: bool) -> None:
        self.often = often

    def predict(self, rows: Any) -> Any:
        if self.often or rows["a"].isna().any():
            sys.exit(3)
        return rows["a"] * 2


def test_f46_a_model_that_calls_exit_ends_no_kernel() -> None:
    sample = pd.DataFrame({"a": [1.0, 2, 3]})
    with pytest.raises(NotServable, match="SystemExit: 3"):
        watched(Leaves(often=True), sample)
    model = Leaves(often=False)
    observed = watched(model, sample)
    assert not observed.schema.columns[0].nullable
    assert served(model, observed).verify() == []


def test_a_model_that_answers_with_a_masked_array_is_told_what_to_return() -> None:
    class Masks:
        def predict(self, rows: Any) -> Any:
            return np.ma.masked_less(rows["a"].to_numpy(), 2)

    with pytest.raises(NotServable) as refused:
        watched(Masks(), pd.DataFrame({"a": [1.0, 2]}))
    assert str(refused.value) == (
        "Masks.predict does not answer the sample's rows: a masked array has no JSON form; "
        "return filled(numpy.nan), whose NaN is sent as null."
    )


class Halt(BaseException):
    """A model's own, which `except Exception` lets through."""


@pytest.mark.parametrize("raised", [Halt("no licence"), KeyboardInterrupt("enough")])
def test_a_model_that_raises_what_is_no_exception_is_refused_by_name(raised: BaseException) -> None:
    class Halts:
        def predict(self, rows: Any) -> Any:
            raise raised

    with pytest.raises(NotServable) as refused:
        watched(Halts(), pd.DataFrame({"a": [1.0, 2]}))
    assert f"Halts.predict does not answer the sample's rows: {type(raised).__name__}: {raised}" in str(refused.value)


def test_f33_ctrl_c_while_a_model_is_tried_is_the_users() -> None:
    class Long:
        def predict(self, rows: Any) -> Any:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us with &
    try:
        with pytest.raises(KeyboardInterrupt):
            watched(Long(), pd.DataFrame({"a": [1.0, 2]}))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_call_is_timed_once_the_model_is_warm() -> None:
    class Warms(Plain):
        calls = 0

        def predict(self, rows: Any) -> Any:
            self.calls += 1
            time.sleep(0.2 if self.calls == 2 else 0)  # the first with all golden rows
            return super().predict(rows)

    assert watched(Warms(), pd.DataFrame({"a": [1.0, 2, 3]})).methods[0].milliseconds < 100


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(NotAModel):
        watched(object(), pd.DataFrame({"a": [1]}))


def test_answers_that_depend_on_the_batch_are_noticed() -> None:
    class Centred:
        def predict(self, table: Any) -> Any:
            return (table["a"] - table["a"].mean()).to_numpy()

    method = watched(Centred(), pd.DataFrame({"a": np.linspace(0, 1, 9)})).methods[0]
    assert (method.rowwise, method.deterministic) == (False, True)


def test_answers_by_chance_are_noticed() -> None:
    class Dice:
        def predict(self, table: Any) -> Any:
            return np.random.random(len(table))  # noqa: NPY002

    observed = watched(Dice(), pd.DataFrame({"a": np.linspace(0, 1, 9)}))
    assert (observed.methods[0].rowwise, observed.methods[0].deterministic) == (False, False)
    assert "differently each time" in observed.warnings[0]
    assert served(Dice(), observed).verify() == []


def test_a_model_that_needs_the_index_is_refused() -> None:
    class Indexed:
        def predict(self, table: Any) -> Any:
            return table.index.to_numpy() * 1.0

    with pytest.raises(NotServable, match="without their index"):
        watched(Indexed(), pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[10, 20, 30]))


def test_trying_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    class Loud:
        def predict(self, table: Any) -> Any:
            print("here")  # the model is a loud one
            np.random.seed(1)  # noqa: NPY002
            random.random()
            table.loc[:, "a"] = 0.0
            return table["a"].to_numpy()

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    before, own, copy = np.random.get_state(legacy=False), random.getstate(), frame.copy()  # noqa: NPY002
    watched(Loud(), frame)
    assert capsys.readouterr().out == ""
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before["state"]["key"])  # noqa: NPY002
    assert random.getstate() == own
    pd.testing.assert_frame_equal(frame, copy)


def test_a_slow_model_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdeploy.capture.methods.SLOW", 0.05)
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0])
    monkeypatch.setattr("nbdeploy.capture.methods.time", clock)
    monkeypatch.setattr("nbdeploy.capture.quiet.time", clock)

    class Slow:
        def predict(self, table: Any) -> Any:
            now[0] += 0.06
            return np.zeros(len(table))

    frame = pd.DataFrame(np.ones((40, 8)), columns=[f"x{place}" for place in range(8)])
    observed = watched(Slow(), frame, seconds=0.3)
    assert now[0] < 0.6
    assert len(observed.golden["rows"]) == 5
    observed = watched(Slow(), frame, seconds=0.01)
    assert not observed.methods[0].rowwise
    assert not any(item.nullable for item in observed.schema.columns)
    assert any("too slow" in warning for warning in observed.warnings)


@pytest.mark.parametrize(
    "sample",
    [
        pd.DataFrame(
            {
                "a": [7001.5, 7002.5],
                "n": [9001, 9003],
                "t": ["secret", "hidden"],
                "d": pd.to_datetime(["2024-01-05", "2024-01-09"]),
            }
        ),
        np.array([[7001.5, 1], [7002.5, 2]]),
        ["secret text one", "secret text two"],
        np.array([[[7001.5]], [[7003.5]]]),
    ],
)
def test_without_real_rows_the_golden_rows_are_made_up(sample: Any) -> None:
    class Count:
        def predict(self, table: Any) -> Any:
            return np.arange(len(table)) * 0.0

    observed = watched(Count(), sample, real_rows=False)
    assert len(observed.golden["rows"]) == 8
    assert served(Count(), observed).verify() == []
    if isinstance(sample, list):
        assert not set(map(str, observed.golden["rows"])) & set(sample)


def test_keys_are_not_given_to_the_model() -> None:
    frame, labels = penguins()
    model = pipeline().fit(frame, labels)
    sample = frame.assign(customer=range(len(frame)))
    observed = observe(model, sample, infer(sample, keys=["customer"]))
    assert "customer" not in observed.golden["rows"][0]
    one = served(model, observed)
    request = one.decode(json.dumps({"rows": [{**observed.golden["rows"][0], "customer": 7}]}).encode())
    assert request.keys == [{"customer": 7}]
    assert one.answer("predict", request.rows) == observed.golden["answers"]["predict"][:1]


def test_texts_are_served() -> None:
    texts = [f"{word} penguin {place}" for place, word in enumerate(["small", "large"] * 15)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1] * 15)
    observed = assert_answers_as_here(model, texts)
    assert observed.schema.container == "texts"
    assert_answers_as_here(model, pd.Series(texts))
    assert_answers_as_here(TfidfVectorizer().fit(texts), texts)


def test_numpy_samples_are_served() -> None:
    features = np.random.default_rng(0).normal(size=(40, 4))
    target = features[:, 0] > 0
    assert_answers_as_here(LogisticRegression().fit(features, target), features)
    assert_answers_as_here(
        LinearRegression().fit(features.astype("float32"), features[:, 0].astype("float32")), features.astype("float32")
    )
    assert_answers_as_here(LogisticRegression().fit(features, target), features.tolist())


def test_a_frame_out_of_a_transformer_is_served() -> None:
    frame, _ = penguins()
    model = StandardScaler().set_output(transform="pandas").fit(frame[["mass", "year"]])
    observed = assert_answers_as_here(model, frame[["mass", "year"]].iloc[5:20])
    assert isinstance(observed.golden["answers"]["transform"][0], list)


@pytest.mark.filterwarnings("ignore:divide by zero")  # of probabilities that are 0, whose logarithms are -inf
def test_several_outputs_are_served() -> None:
    from sklearn.ensemble import RandomForestClassifier

    frame, labels = penguins()
    targets = pd.DataFrame({"species": labels, "heavy": frame["mass"] > 4000})
    model = RandomForestClassifier(5, random_state=0).fit(frame[["mass", "year"]], targets.astype(str))
    observed = assert_answers_as_here(model, frame[["mass", "year"]])
    assert list(observed.golden["answers"]["predict_proba"][0][1]) == ["False", "True"]


def many_dtypes() -> tuple[pd.DataFrame, Any]:
    frame, labels = penguins()
    return (
        pd.DataFrame(
            {
                "island": frame["island"].astype("category"),
                "bill": frame["bill"],
                "mass": frame["mass"].astype("Int64"),
                "year": frame["year"].astype("int16"),
                "male": frame["sex"] == "male",
                "tagged": (frame["sex"] == "male").astype("boolean"),
            }
        ),
        np.unique(labels, return_inverse=True)[1],
    )


def test_categoricals_and_nullable_dtypes_are_served() -> None:
    frame, labels = many_dtypes()
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(frame, labels)
    assert_answers_as_here(model, frame)


def test_lightgbm_is_served() -> None:
    from lightgbm import LGBMClassifier

    frame, labels = many_dtypes()
    assert_answers_as_here(LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, labels), frame)


def test_xgboost_is_served() -> None:
    from xgboost import XGBClassifier, XGBRegressor

    frame, labels = many_dtypes()
    observed = assert_answers_as_here(XGBClassifier(n_estimators=5, enable_categorical=True).fit(frame, labels), frame)
    assert column(observed, "island").nullable
    regressor = XGBRegressor(n_estimators=5).fit(frame[["bill", "year"]], labels)
    observed = assert_answers_as_here(regressor, frame[["bill", "year"]])
    assert observed.methods[0].output.dtype == "float32"


def test_dates_reach_the_model() -> None:
    class Ages:
        def predict(self, table: Any) -> Any:
            return (pd.Timestamp("2026-01-01", tz="UTC") - table["born"]).dt.days.to_numpy()

    frame = pd.DataFrame({"born": pd.date_range("2020-01-01", periods=25, freq="7D", tz="Europe/Berlin")})
    assert_answers_as_here(Ages(), frame)


def test_a_polars_sample_gives_the_model_polars() -> None:
    class Lengths:
        def predict(self, table: Any) -> Any:
            assert isinstance(table, pl.DataFrame)
            return table.select(pl.col("name").str.len_chars() + pl.col("n")).to_series()

    sample = pl.DataFrame({"name": ["a", "bcd", "ef"], "n": [1, 2, 3]})
    observed = watched(Lengths(), sample)
    one = served(Lengths(), observed)
    assert one.verify() == []
    assert [item.nullable for item in observed.schema.columns] == [True, True]
    assert one.native("predict", one.answer("predict", observed.golden["rows"])).equals(Lengths().predict(sample))


def test_watching_a_small_pipeline_takes_few_calls() -> None:
    frame, labels = penguins()
    model = pipeline().fit(frame, labels)
    calls = []
    step = model.steps[-1][1]
    original = type(step).predict
    step.predict = lambda table: calls.append(1) or original(step, table)  # type: ignore[func-returns-value]
    watched(model, frame)
    assert len(calls) <= 8


def test_a_frame_with_an_index_of_its_own_keeps_it() -> None:
    class Fresh:
        def predict(self, table: Any) -> Any:
            return pd.DataFrame({"score": table["a"].to_numpy() * 2})

    assert_answers_as_here(Fresh(), pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[10, 20, 30]))


class Counted:
    """Its answers, and how many rows each call brought; `refuses` more than so many at once."""

    def __init__(self, refuses: int = 10_000) -> None:
        self.calls: list[int] = []
        self.refuses = refuses

    def predict(self, rows: pd.DataFrame) -> Any:
        self.calls.append(len(rows))
        if len(rows) > self.refuses:
            raise ValueError("too many")
        return rows["bill"].fillna(0.0) * 2


def test_all_cases_that_may_share_a_call_are_proven_by_one() -> None:
    sample = penguins()[0][["bill", "mass"]]
    observed = watched(Counted(), sample)
    assert len(observed.golden["edge"]) > 1
    counted = Counted()
    assert served(counted, observed).verify() == []
    assert len(counted.calls) == 1

    counted = Counted()
    (method,) = observed.methods
    apart = replace(observed, methods=(replace(method, rowwise=False),))
    assert served(counted, apart).verify() == []
    assert len(counted.calls) == 1 + len(observed.golden["edge"])


def test_a_proof_that_fails_for_all_cases_names_the_one_that_fails_alone() -> None:
    observed = watched(Counted(), penguins()[0][["bill", "mass"]])
    most = max(len(case["rows"]) for case in observed.golden["edge"])
    rows = len(observed.golden["rows"])
    edges = [case for case in observed.golden["edge"] if len(case["rows"]) < rows]
    assert edges
    assert served(Counted(refuses=max(most, rows)), observed).verify() == []
    findings = served(Counted(refuses=rows - 1), observed).verify()
    assert findings[0] == "predict, golden rows: ValueError: too many"
    assert len(findings) == 1 + len(observed.golden["edge"]) - len(edges)


def test_a_proof_says_which_case_differs() -> None:
    observed = watched(Counted(), penguins()[0][["bill", "mass"]])
    observed.golden["edge"][0]["answers"]["predict"][0] = -1.0
    (finding,) = served(Counted(), observed).verify()
    assert finding.startswith(f"predict, {observed.golden['edge'][0]['name']}, row 0: -1.0 in the kernel, ")


def test_a_case_the_schema_refuses_is_a_finding() -> None:
    observed = watched(Counted(), penguins()[0][["bill", "mass"]])
    observed.golden["edge"][0]["rows"][0]["bill"] = "text"
    (finding,) = served(Counted(), observed).verify()
    assert finding.startswith(f"{observed.golden['edge'][0]['name']}: Refusal: ")


def test_a_null_in_an_answered_golden_row_is_accepted_even_if_nothing_could_be_tried() -> None:
    fitted = classifier()
    observed = observe(fitted.model, fitted.X, infer(fitted.X), seconds=0)
    nullable = {column.name for column in observed.schema.columns if column.nullable}
    assert nullable == {"bill"}
    assert any(row["bill"] is None for row in observed.golden["rows"])
