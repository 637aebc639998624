"""What notebook code does when it leaves: each case in a real kernel and a fresh interpreter."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from kernels import Kernel
from sessions import CAPTURE, PIPELINE, PRELUDE, Session, cases

if TYPE_CHECKING:
    from pathlib import Path

    from kernels import Fresh

pytest_plugins = ["capture_sessions"]
pytestmark = pytest.mark.slow

READABLE = cases("readable") | {
    "carriage returns": ["def f(X):\r\n    return X*2.5\r\n", PIPELINE.format("f")],
    "odd line separators": ["x1='a\x0cb\x1c'\ndef f(X):\n    return X*len('p\\x0c')\n", PIPELINE.format("f")],
}
FROZEN = cases("frozen")
BY_VALUE = cases("by_value")
REFUSED = cases("refused")


@pytest.mark.parametrize("case", READABLE)
def test_it_travels_as_readable_source(session: Session, case: str) -> None:
    session.cells(*READABLE[case])
    found = session.readable(rows="X" if "query" in case else "N")
    assert found["text"]


@pytest.mark.parametrize("case", FROZEN)
def test_what_was_fixed_at_definition_time_travels_as_it_was(session: Session, case: str) -> None:
    session.cells(*FROZEN[case])
    session.readable()


def test_a_lookup_frame_travels_as_a_data_file(session: Session) -> None:
    session.cells(
        "LOOKUP = pd.DataFrame({'w': [1.0, 2.0]}, index=['x', 'y'])",
        "def f(rows):\n    return rows[['a']] * LOOKUP.loc[rows['k'], 'w'].to_numpy().reshape(-1, 1)",
        "model = make_pipeline(FunctionTransformer(f), LogisticRegression()).fit(X, y)",
    )
    found = session.readable(rows="X")
    assert [entry[:2] for entry in found["data"]] == [["LOOKUP", "DataFrame"]]
    assert "notebook_data/LOOKUP.pkl" in found["files"]
    assert any(name.startswith("pandas") for name in found["modules"])


def test_an_instance_kept_in_a_variable_comes_after_its_class(session: Session) -> None:
    session.cells(
        "tool = StandardScaler().fit(N)",
        "class Mine:\n    def __init__(self, by):\n        self.by = by\n    def __call__(self, X):\n        return helper(X) * self.by",
        "mine = Mine(3)\ndef helper(X):\n    return tool.transform(X)",
        "def f(X):\n    return mine(X)",
        PIPELINE.format("f"),
    )
    found = session.readable()
    assert {entry[0] for entry in found["data"]} == {"tool", "mine"}


def test_a_large_variable_is_warned_of_and_a_larger_one_refused(session: Session) -> None:
    session.cells(
        "TABLE = np.zeros(200_000)",
        "class C(TransformerMixin, BaseEstimator):\n    def __init__(self):\n        self.n = len(TABLE)\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X",
        "model = make_pipeline(C(), LogisticRegression()).fit(N, y)",
    )
    found = session.travels()
    assert "TABLE (ndarray, 1.6 MB) travels with the model because C.__init__ uses it" in found["warnings"]
    session.cells("TABLE = np.zeros(8_000_000)")
    assert "TABLE (ndarray, 64 MB)" in session.capture()["refused"] or "64 MB" in session.capture()["refused"]


def test_a_model_in_a_variable_may_be_of_any_size(session: Session) -> None:
    session.cells(
        "class Big:\n    def predict(self, X):\n        return X[:, 0]\nbig = Big(); big.table = np.zeros(7_000_000)",
        "def f(X):\n    return big.predict(X).reshape(-1, 1)",
        PIPELINE.format("f"),
    )
    assert not session.travels()["warnings"]


SCALE = "class Scale(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X * {0}"


def test_a_function_redefined_since_travels_as_the_model_holds_it(session: Session) -> None:
    first, *_ = session.cells("def f(X):\n    return X * 2", PIPELINE.format("f"), "def f(X):\n    return X * 50")
    found = session.travels()
    assert found["by"] == ["source"]
    assert "f_held" in found["definitions"]
    assert any(
        f"f was defined again since; the one the model holds, of In[{first}]" in text for text in found["warnings"]
    )


def test_a_class_redefined_after_the_fit_travels_as_the_model_holds_it(session: Session) -> None:
    session.cells(SCALE.format(2), "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)", SCALE.format(50))
    found = session.travels()
    assert "Scale_held" in found["definitions"]
    assert len(found["warnings"]) == 1


def test_a_class_executed_again_unchanged_after_the_fit_travels(session: Session) -> None:
    session.cells(SCALE.format(2), "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)", SCALE.format(2))
    assert session.travels()["by"] == ["source"]


def test_a_base_redefined_after_the_fit_travels_as_it_was(session: Session) -> None:
    session.cells(
        "class Base(TransformerMixin, BaseEstimator):\n    by = 3\n    def fit(self, X, y=None):\n        return self",
        "class Child(Base):\n    def transform(self, X):\n        return X * self.by",
        "model = make_pipeline(Child(), LogisticRegression()).fit(N, y)",
        "class Base(TransformerMixin, BaseEstimator):\n    by = 77\n    def fit(self, X, y=None):\n        return self",
    )
    found = session.travels()
    assert found["by"] == ["source"]
    assert any("Base was defined again" in text for text in found["warnings"])


@pytest.mark.parametrize("case", BY_VALUE)
def test_it_travels_by_value_with_a_warning(session: Session, case: str) -> None:
    session.cells(*BY_VALUE[case])
    found = session.travels()
    assert "value" in found["by"]
    assert found["same_minor"]
    assert any("travels as bytecode, because" in text for text in found["warnings"])
    assert "cloudpickle" in found["modules"]


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_name(session: Session, case: str) -> None:
    cell, path, fact = re.fullmatch(r"(.*)\n# path: (.*)\n# fact: (.*)", REFUSED[case][0], re.DOTALL).groups()  # type: ignore[union-attr]
    session.cells(cell)
    found = session.capture()
    assert found["path"] == path
    assert fact in found["refused"]


def test_a_refusal_names_the_cell_of_the_class_that_holds_the_object(session: Session) -> None:
    first, *_ = session.cells(
        "import threading\nclass Holds(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        self.lock_ = threading.Lock()\n        return self\n    def transform(self, X):\n        return X",
        "model = make_pipeline(Holds(), LogisticRegression()).fit(N, y)",
    )
    found = session.capture()
    assert found["path"] == "model.steps[0][1].lock_"
    assert found["cell"] == f"In[{first}]"


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        (
            "def patched(self, X, copy=None):\n    return X * 0\n_kept = StandardScaler.transform\nStandardScaler.transform = patched",
            "StandardScaler.transform of sklearn was replaced by 'patched'",
        ),
        (
            "import sklearn.preprocessing._data as D\n_kept = D.check_array\ndef patched(*a, **k):\n    return _kept(*a, **k)\nD.check_array = patched",
            "sklearn.preprocessing._data.check_array of sklearn was replaced by 'patched'",
        ),
    ],
)
def test_a_library_changed_in_place_is_refused(session: Session, patch: str, names: str) -> None:
    number, _ = session.cells(patch, "model = make_pipeline(StandardScaler(), LogisticRegression()).fit(N, y)")
    found = session.capture()
    session.kernel.run(
        "StandardScaler.transform = _kept if 'D' not in dir() else StandardScaler.transform\nif 'D' in dir(): D.check_array = _kept"
    )
    assert names in found["refused"].replace(f" (see In[{number}])", "")
    assert found["cell"] == f"In[{number}]"


def test_a_script_run_in_the_notebook_travels(session: Session) -> None:
    (session.folder / "script1.py").write_text(
        "import numpy as np\nK = 4\ndef f(X):\n    return np.abs(X) * K\nclass Plus:\n    def __call__(self, X):\n        return X + K\nplus = Plus()\n"
    )
    session.cells(
        "%run script1.py",
        "model = make_pipeline(FunctionTransformer(f), FunctionTransformer(plus), LogisticRegression()).fit(N, y)",
    )
    found = session.readable()
    assert found["definitions"]["f"] == "script1.py"


def test_cells_forgotten_by_reset_in_are_found_in_the_history(session: Session) -> None:
    session.cells("%%time\ndef f(X):\n    return X * 1.75", PIPELINE.format("f"), "%reset -f in")
    found = session.readable()
    assert "X * 1.75" in found["text"]


def test_a_cell_run_without_history_is_not_given_another_cells_number(session: Session) -> None:
    session.kernel.finish(session.kernel.send("def f(X):\n    return X * 1.875", store_history=False))
    session.cells(PIPELINE.format("f"))
    found = session.readable()
    assert found["definitions"]["f"] == "a cell run without history"


def test_a_cells_predict_function_becomes_a_model(session: Session) -> None:
    session.cells(
        "inner = LogisticRegression().fit(N, y)",
        "def predict(rows):\n    return inner.predict(rows)",
        "from nbdeploy.runtime.function import Function\nmodel = Function(predict)",
    )
    found = session.readable()
    assert found["data"][0][:2] == ["inner", "LogisticRegression"]
    assert not any(name.startswith("nbdeploy") for name in found["modules"])


def test_every_cell_sharing_one_file_name_is_told_apart(tmp_path: Path, fresh: Fresh) -> None:
    with Kernel(tmp_path / "kernel", {"IPYKERNEL_CELL_NAME": "<cell>"}) as kernel:
        session = Session(kernel, fresh, tmp_path)
        first, *_ = session.cells("def f(X):\n    return X * 2", "def g(X):\n    return f(X) + 1", PIPELINE.format("g"))
        found = session.readable()
        assert found["definitions"]["f"] == f"In[{first}]"


def test_a_plain_script_is_captured_too(tmp_path: Path, fresh: Fresh) -> None:
    import subprocess
    import sys

    (tmp_path / "bundle").mkdir()
    script = tmp_path / "train.py"
    script.write_text(
        PRELUDE
        + "K = 3\ndef f(X):\n    return X * K\nclass C:\n    by = 2\n    def __call__(self, X):\n        return X * self.by\n"
        "model = make_pipeline(FunctionTransformer(f), FunctionTransformer(C()), FunctionTransformer(lambda X: X + 1), LogisticRegression()).fit(N, y)\n"
        + CAPTURE
        + f"print(json.dumps(_capture(model, N, {str(tmp_path / 'bundle')!r}), default=str))\n"
    )
    shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(shown.stdout)
    assert set(found["definitions"].values()) == {"train.py"}
    assert "K = 3" in found["text"]
    assert "# fixed when" not in found["text"]
    assert fresh.answer(tmp_path / "bundle") == {"same": True, "error": "", "methods": ["predict", "predict_proba"]}


def test_a_class_that_inherits_the_one_it_replaces_travels(session: Session) -> None:
    session.cells(
        SCALE.format(2).replace("X * 2", "X * self.by").replace("def fit", "by = 3\n    def fit"),
        "class Scale(Scale):\n    def transform(self, X):\n        return super().transform(X) + 1",
        "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)",
    )
    assert session.travels()["by"] == ["source"]


def test_functions_of_a_loop_with_one_name_travel_each_as_it_is(session: Session) -> None:
    session.cells(
        "fs = []\nfor k in (1, 2):\n    def g(X, k=k):\n        return np.abs(X) ** k\n    fs.append(g)",
        "model = make_pipeline(*map(FunctionTransformer, fs), LogisticRegression()).fit(N, y)",
    )
    assert session.travels()["by"] == ["source"]
