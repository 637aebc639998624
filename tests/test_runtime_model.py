from __future__ import annotations

import json
import pickle
import sys
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bundles import body_of, write_src
from sklearn.linear_model import LogisticRegression

from nbdeploy.capture.golden import observe
from nbdeploy.capture.schema import infer
from nbdeploy.runtime.answers import ModelFault
from nbdeploy.runtime.manifest import Manifest, ManifestError, digest_of
from nbdeploy.runtime.model import CannotLoad, ServedModel
from nbdeploy.runtime.schema import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE = pd.DataFrame({"a": np.linspace(0, 1, 30), "b": np.linspace(5, -5, 30)})
LABELS = np.where(SAMPLE["a"] > 0.5, "high", "low")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    model = LogisticRegression().fit(SAMPLE, LABELS)
    write_src(tmp_path / "src", model, observe(model, SAMPLE, infer(SAMPLE)))
    return tmp_path / "src"


def rewritten(src: Path, **changes: Any) -> None:
    manifest = replace(Manifest.load(src), **changes)
    manifest = replace(manifest, digest=manifest.computed_digest())
    (src / "manifest.json").write_bytes(manifest.dumps())


def test_a_bundle_answers_as_the_model(src: Path) -> None:
    served = ServedModel.load(src)
    model = LogisticRegression().fit(SAMPLE, LABELS)
    request = served.decode(body_of(served.contract.schema, SAMPLE))
    for name in ("predict", "predict_proba", "decision_function"):
        answered = served.native(name, json.loads(json.dumps(served.answer(name, request.rows))))
        expected = getattr(model, name)(SAMPLE)
        assert answered.dtype == expected.dtype
        assert np.array_equal(answered, expected)


def test_a_whole_bundle_verifies_itself(src: Path) -> None:
    assert ServedModel.load(src).verify() == []


def test_no_rows_need_no_model(src: Path) -> None:
    served = ServedModel.load(src)
    served.model.coef_ = None
    assert served.answer("predict", []) == []


def test_verify_names_what_differs(src: Path) -> None:
    served = ServedModel.load(src)
    served.model.coef_ = -served.model.coef_
    findings = served.verify()
    assert findings[0].startswith("predict, golden rows, row 0: 'low' in the kernel, 'high' here")


def test_verify_names_what_fails(src: Path) -> None:
    served = ServedModel.load(src)
    served.model.coef_ = None
    assert "predict, golden rows: AttributeError" in served.verify()[0]


def test_bad_rows_are_refused(src: Path) -> None:
    with pytest.raises(Refusal):
        ServedModel.load(src).decode(b'{"rows": [{"a": "1", "b": 2}]}')


def test_an_altered_bundle_is_not_unpickled(src: Path) -> None:
    with (src / "model.pkl").open("ab") as file:
        file.write(b" ")
    with pytest.raises(CannotLoad, match=r"model\.pkl has changed"):
        ServedModel.load(src)


def test_a_bundle_of_another_python_is_not_unpickled(src: Path) -> None:
    rewritten(src, environment={"python": "3.5.1", "requirements": []})
    (src / "model.pkl").write_bytes(b"this would raise")
    rewritten(src, files={"model.pkl": digest_of(src / "model.pkl")})
    with pytest.raises(CannotLoad, match=r"Python 3\.5"):
        ServedModel.load(src)


def test_a_missing_package_is_told_before_the_load(src: Path) -> None:
    rewritten(src, environment={"python": None, "requirements": ["nowhere-to-be-found==1.0"]})
    with pytest.raises(CannotLoad, match="nowhere-to-be-found is not installed"):
        ServedModel.load(src)


def test_no_manifest_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        ServedModel.load(tmp_path)


class Fixed:
    """Returns what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, table: Any) -> Any:
        return self.answer(table) if callable(self.answer) else self.answer


def served(monkeypatch: pytest.MonkeyPatch, answer: Any) -> ServedModel:
    observed = observe(Fixed(len_of), SAMPLE, infer(SAMPLE))
    manifest = Manifest(
        1, "n", "n", {}, observed.methods, observed.schema, "model.pkl", {}, {}, {}, digest="", created=""
    )
    return ServedModel(Fixed(answer), manifest, observed.golden)


def len_of(table: Any) -> Any:
    return np.arange(float(len(table)))


@pytest.mark.parametrize(
    "answer", [None, np.zeros(3), [1.0, 2.0], iter([1.0, 2.0]), np.zeros((2, 2)), np.array([object()] * 2)]
)
def test_an_unusable_answer_is_the_models_fault(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(ModelFault):
        served(monkeypatch, answer).answer("predict", [{"a": 1.0, "b": 1.0}] * 2)


def test_nan_is_null_and_infinities_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = served(monkeypatch, np.array([np.nan, np.inf]))
    assert one.answer("predict", [{"a": 1.0, "b": 1.0}] * 2) == [None, "Infinity"]


def test_rows_are_not_shared_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(table: Any) -> Any:
        table["a"] = 0.0
        del table["b"]
        return np.zeros(len(table))

    one = served(monkeypatch, greedy)
    rows = [{"a": 1.0, "b": 1.0}]
    assert one.answer("predict", rows) == one.answer("predict", rows) == [0.0]
    assert rows == [{"a": 1.0, "b": 1.0}]


@pytest.fixture
def captured(src: Path) -> Iterator[Path]:
    """A bundle whose model is of a captured module, and a module of that name which is here already."""
    (src / "captured").mkdir()
    (src / "captured" / "own_code.py").write_text(
        "class Model:\n    def predict(self, X):\n        import own_later\n        return X['a'].to_numpy() + own_later.MORE\n"
    )
    (src / "captured" / "own_later.py").write_text("MORE = 1.0\n")
    here = types.ModuleType("own_code")
    here.Model = type("Model", (), {"__module__": "own_code", "__qualname__": "Model"})  # type: ignore[attr-defined]
    before, path = sys.modules.copy(), sys.path.copy()
    sys.modules["own_code"] = here
    (src / "model.pkl").write_bytes(pickle.dumps(here.Model()))
    method = replace(
        Manifest.load(src).methods[0],
        name="predict",
        output=replace(Manifest.load(src).methods[0].output, dtype="float64"),
    )
    rewritten(src, methods=(method,), files={"model.pkl": digest_of(src / "model.pkl")})
    yield src
    for name in ("own_code", "own_later"):
        sys.modules.pop(name, None)
        if name in before:
            sys.modules[name] = before[name]
    sys.path[:] = path


def test_captured_code_wins_over_a_module_of_the_same_name_which_stays(captured: Path) -> None:
    here = sys.modules["own_code"]
    model = ServedModel.load(captured)
    assert sys.modules["own_code"] is here
    assert model.answer("predict", [{"a": 1.0, "b": 0.0}]) == [2.0]


def test_two_bundles_with_one_module_name_live_side_by_side(captured: Path, tmp_path: Path) -> None:
    first = ServedModel.load(captured)
    other = tmp_path / "other"
    captured.rename(other)
    (other / "captured" / "own_code.py").write_text(
        "class Model:\n    def predict(self, X):\n        return X['a'].to_numpy() * 10\n"
    )
    second = ServedModel.load(other)
    row = [{"a": 1.0, "b": 0.0}]
    assert second.answer("predict", row) == [10.0]
    assert type(first.model) is not type(second.model)
