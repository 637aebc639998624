"""What notebook code does when it leaves: the cases of the table, each in a real kernel and a fresh interpreter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kernels import Fresh, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PRELUDE = """
import sys, json, pickle
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
rng = np.random.default_rng(0)
X = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40) + 1, "k": rng.choice(["x", "y"], size=40)})
N = X[["a", "b"]].to_numpy()
y = np.where(X["a"] + X["b"] > 1, "big", "small")
"""

CAPTURE = """
def _capture(model, rows, folder):
    from nbdeploy.capture.code import capture_model
    from nbdeploy.errors import CannotTravel
    folder = Path(folder)
    try:
        found = capture_model(model)
    except CannotTravel as refused:
        return {"refused": str(refused), "path": refused.path, "cell": refused.cell}
    for name, content in found.files.items():
        path = folder / "captured" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    answers = {}
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(model, method):
            answers[method] = getattr(model, method)(rows)
    for name, content in {"model": found.pickle, "rows": pickle.dumps(rows), "answers": pickle.dumps(answers)}.items():
        (folder / f"{name}.pkl").write_bytes(content)
    return {
        "text": found.files.get("notebook_code.py", b"").decode(), "files": sorted(found.files),
        "warnings": list(found.warnings), "by": sorted({each.by for each in found.definitions}),
        "definitions": {each.name: each.cell for each in found.definitions}, "modules": sorted(found.modules),
        "same_minor": found.same_minor, "data": found.data, "local": found.local_modules,
    }
"""


@pytest.fixture(scope="module")
def fresh() -> Iterator[Fresh]:
    child = Fresh()
    yield child
    child.close()


@pytest.fixture(scope="module")
def shared_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        kernel.run("import numpy, pandas, sklearn.pipeline, sklearn.preprocessing, sklearn.linear_model")
        yield kernel


class Session:
    """A kernel with an empty namespace, the prelude run; `capture` says what came of it."""

    def __init__(self, kernel: Kernel, fresh: Fresh, folder: Path) -> None:
        self.kernel, self.fresh, self.folder = kernel, fresh, folder
        kernel.run("%reset -f")
        kernel.run("import os, sys; _before = set(sys.modules)")
        kernel.run(PRELUDE)
        kernel.run(f"os.chdir({str(folder)!r}); sys.path.insert(0, {str(folder)!r})")

    def cells(self, *cells: str) -> list[int]:
        """Run cells; gives their numbers."""
        return [self.kernel.run(cell).number for cell in cells]

    def capture(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        self.kernel.run(CAPTURE)
        out = self.folder / "bundle"
        out.mkdir(exist_ok=True)
        shown = self.kernel.run(
            f"print('\\x02' + json.dumps(_capture({model}, {rows}, {str(out)!r}), default=str))"
        ).text
        return dict(json.loads(shown.rpartition("\x02")[2]))

    def travels(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        """Captured, loaded in a fresh interpreter, the same answers."""
        found = self.capture(model, rows)
        assert "refused" not in found, found
        answer = self.fresh.answer(self.folder / "bundle")
        assert answer["same"], f"{answer['error']}\n{found['text']}\n{found['warnings']}"
        assert answer["methods"]
        return found

    def readable(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        """It travels as source, without a warning."""
        found = self.travels(model, rows)
        assert not found["warnings"]
        assert found["by"] in (["source"], [])
        assert not found["same_minor"]
        return found


@pytest.fixture
def session(shared_kernel: Kernel, fresh: Fresh, tmp_path: Path) -> Session:
    return Session(shared_kernel, fresh, tmp_path)


PIPELINE = "model = make_pipeline(FunctionTransformer({0}), LogisticRegression()).fit(N, y)"

READABLE = {
    "function with a global constant": ["FACTOR = 3", "def f(X):\n    return X * FACTOR", PIPELINE.format("f")],
    "lambda": ["model = make_pipeline(FunctionTransformer(lambda X: X ** 2), LogisticRegression()).fit(N, y)"],
    "two lambdas on one line": [
        "up, down = lambda X: X + 1, lambda X: X - 1",
        "model = make_pipeline(FunctionTransformer(down), FunctionTransformer(up), LogisticRegression()).fit(N, y)",
    ],
    "two unnamed lambdas on one line": [
        "model = make_pipeline(FunctionTransformer(lambda X: X + 1), FunctionTransformer(lambda X: X * 7), LogisticRegression()).fit(N, y)"
    ],
    "lambda over several lines": [
        "model = make_pipeline(FunctionTransformer(lambda X: (\n    X + 1\n) * 2), FunctionTransformer(lambda X:\n    X\n    - 1), LogisticRegression()).fit(N, y)"
    ],
    "closure": [
        "def power(n):\n    def raised(X):\n        return X ** n\n    return raised",
        PIPELINE.format("power(2)"),
    ],
    "closure over a lambda and an array": [
        "def shifted(by, then):\n    return lambda X: then(X + by)",
        "half = lambda X: X / 2",
        PIPELINE.format("shifted(N.mean(axis=0), half)"),
    ],
    "two closures of one maker": [
        "def power(n):\n    def raised(X):\n        return np.abs(X) ** n\n    return raised",
        "model = make_pipeline(FunctionTransformer(power(2)), FunctionTransformer(power(3)), LogisticRegression()).fit(N, y)",
    ],
    "closure bound to a name": [
        "def power(n):\n    def raised(X):\n        return np.abs(X) ** n\n    return raised",
        "squared = power(2)",
        "def f(X):\n    return squared(X) + 1",
        PIPELINE.format("f"),
    ],
    "class": [
        "class Scale(TransformerMixin, BaseEstimator):\n    def __init__(self, by=2):\n        self.by = by\n    def fit(self, X, y=None):\n        self.top_ = X.max()\n        return self\n    def transform(self, X):\n        return X / self.top_ * self.by",
        "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)",
    ],
    "class inheriting a class of another cell": [
        "class Base(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return self.change(X)",
        "class Twice(Base):\n    def change(self, X):\n        return X * 2",
        "class Thrice(Twice):\n    def change(self, X):\n        return super().change(X) * 1.5",
        "model = make_pipeline(Thrice(), LogisticRegression()).fit(N, y)",
    ],
    "helper and imports of other cells": [
        "import scipy.special as sp\nfrom math import sqrt as root",
        "def helper(X):\n    return sp.expit(X) * root(2)",
        "def f(X):\n    return helper(np.asarray(X))",
        PIPELINE.format("f"),
    ],
    "partial": ["from functools import partial\ndef f(X, by):\n    return X * by", PIPELINE.format("partial(f, by=3)")],
    "bound method": [
        "class Times:\n    def __init__(self, by):\n        self.by = by\n    def do(self, X):\n        return X * self.by",
        PIPELINE.format("Times(4).do"),
    ],
    "static and class methods": [
        "class Ways:\n    by = 5\n    @staticmethod\n    def plain(X):\n        return X + 1\n    @classmethod\n    def classy(cls, X):\n        return X * cls.by",
        "model = make_pipeline(FunctionTransformer(Ways.plain), FunctionTransformer(Ways.classy), LogisticRegression()).fit(N, y)",
    ],
    "lru_cache": [
        "from functools import lru_cache\n@lru_cache(maxsize=8)\ndef weight(n):\n    return n * 2.5",
        "def f(X):\n    return X * weight(3)",
        PIPELINE.format("f"),
    ],
    "lru_cache called on a function": [
        "from functools import lru_cache\ndef plain(n):\n    return n * 2.5\nweight = lru_cache(plain)",
        "def f(X):\n    return X * weight(3) + plain(1)",
        PIPELINE.format("f"),
    ],
    "decorator with wraps": [
        "from functools import wraps\ndef loud(fn):\n    @wraps(fn)\n    def inner(*args):\n        return fn(*args) + 1\n    return inner",
        "@loud\ndef f(X):\n    return X * 2",
        PIPELINE.format("f"),
    ],
    "decorator without wraps": [
        "def loud(fn):\n    def inner(*args):\n        return fn(*args) + 1\n    return inner",
        "@loud\ndef f(X):\n    return X * 2",
        "def g(X):\n    return f(X) * 3",
        PIPELINE.format("g"),
    ],
    "decorator with an argument": [
        "def times(by):\n    def decorate(fn):\n        def inner(X):\n            return fn(X) * by\n        return inner\n    return decorate",
        "@times(3)\ndef f(X):\n    return X + 2",
        "def g(X):\n    return f(X)",
        PIPELINE.format("g"),
    ],
    "dataclass": [
        "from dataclasses import dataclass, field\n@dataclass\nclass Settings:\n    by: float = 2.0\n    names: list = field(default_factory=list)\n    def apply(self, X):\n        return X * self.by",
        "settings = Settings(3.5)",
        "def f(X):\n    return settings.apply(X)",
        PIPELINE.format("f"),
    ],
    "dataclass without methods": [
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Settings:\n    by: float = 2.0",
        "def f(X, settings=Settings(1.5)):\n    return X * settings.by",
        PIPELINE.format("f"),
    ],
    "enum": [
        "from enum import Enum\nclass Mode(Enum):\n    UP = 1\n    DOWN = -1",
        "class Way(TransformerMixin, BaseEstimator):\n    def __init__(self, mode=Mode.UP):\n        self.mode = mode\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X * (2 if self.mode is Mode.DOWN else 3)",
        "model = make_pipeline(Way(Mode.DOWN), LogisticRegression()).fit(N, y)",
    ],
    "namedtuple": [
        "from collections import namedtuple\nfrom typing import NamedTuple\nBounds = namedtuple('Bounds', 'low high', defaults=[1])\nclass Pair(NamedTuple):\n    left: int\n    right: int = 4",
        "bounds, pair = Bounds(-1), Pair(3)",
        "def f(X):\n    return np.clip(X, bounds.low, bounds.high) * pair.right",
        PIPELINE.format("f"),
    ],
    "functional enum": [
        "from enum import IntEnum\nMode = IntEnum('Mode', {'UP': 2, 'DOWN': 5})",
        "def f(X, mode=Mode.DOWN):\n    return X * mode",
        PIPELINE.format("f"),
    ],
    "%%time": ["%%time\ndef f(X):\n    return X * 1.25", PIPELINE.format("f")],
    "magics and shell lines around": [
        "%matplotlib inline\ndef f(X):\n    return X * 1.25\n!true",
        PIPELINE.format("f"),
    ],
    "scorer in a search": [
        "from sklearn.model_selection import GridSearchCV\nfrom sklearn.metrics import make_scorer\ndef score(truth, given):\n    return float((truth == given).mean())",
        "model = GridSearchCV(LogisticRegression(), {'C': [0.1, 1]}, scoring=make_scorer(score), cv=2).fit(N, y)",
    ],
    "wrapper with predict": [
        "class Wrapper:\n    def __init__(self, inner):\n        self.inner = inner\n    def predict(self, X):\n        return [str(label).upper() for label in self.inner.predict(X)]",
        "model = Wrapper(LogisticRegression().fit(N, y))",
    ],
    "method decorators and properties": [
        "from functools import cached_property\nclass Scale(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        return self\n    @property\n    def two(self):\n        return 2\n    @cached_property\n    def three(self):\n        return 3\n    def transform(self, X):\n        return X * self.two * self.three",
        "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)",
    ],
    "default of a module's function": ["def f(X, how=np.tanh):\n    return how(X)", PIPELINE.format("f")],
    "inner class and recursion": [
        "class Tree:\n    class Leaf:\n        gain = 2\n    def grow(self, X, depth=3):\n        return X if depth == 0 else self.grow(X, depth - 1) * Tree.Leaf.gain",
        "def walk(X, n=2):\n    return X if n == 0 else walk(X, n - 1) + Tree().grow(X)",
        PIPELINE.format("walk"),
    ],
    "docstrings and multi-line text": [
        'def outer():\n    text = """a\n  b\nc"""\n    def inner(X):\n        """Long\n        docstring."""\n        return X + len(text) + len("""x\n y""")\n    return inner',
        PIPELINE.format("outer()"),
    ],
    "annotations and future import": [
        "from __future__ import annotations\nclass Holder:\n    pass",
        "def f(X: pd.DataFrame, other: Missing | None = None) -> np.ndarray:\n    return X * 2",
        PIPELINE.format("f"),
    ],
    "annotations that are evaluated": [
        "from typing import Optional\ndef f(X: np.ndarray, by: Optional[int] = None) -> np.ndarray:\n    return X * 2",
        PIPELINE.format("f"),
    ],
    "function with attributes": ["def f(X):\n    return X * f.by\nf.by = 6", PIPELINE.format("f")],
    "a name in a pandas query": [
        "LIMIT = 0.5",
        "def f(rows):\n    kept = rows.query('a > @LIMIT').index\n    return rows.index.isin(kept).astype(float).reshape(-1, 1)",
        "model = make_pipeline(FunctionTransformer(f), LogisticRegression()).fit(X, y)",
    ],
}


@pytest.mark.parametrize("case", READABLE)
def test_it_travels_as_readable_source(session: Session, case: str) -> None:
    session.cells(*READABLE[case])
    found = session.readable(rows="X" if "query" in case else "N")
    assert found["text"]


FROZEN = {
    "a default whose name changed": ["K = 2", "def f(X, by=K):\n    return X * by", "K = 99", PIPELINE.format("f")],
    "a default that was mutated": [
        "def f(X, seen=[]):\n    seen.append(1)\n    return X + min(len(seen), 3) * 0",
        "f(N)",
        PIPELINE.format("f"),
    ],
    "a default that is a frame": [
        "table = pd.DataFrame({'w': [1.5, 2.5]})",
        "def f(X, table=table):\n    return X * table['w'].sum()",
        "table = None",
        PIPELINE.format("f"),
    ],
    "a class attribute whose name changed": [
        "K = 2",
        "class C(TransformerMixin, BaseEstimator):\n    by = K\n    def __init__(self, plus=K):\n        self.plus = plus\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X * self.by + self.plus",
        "K = 99",
        "model = make_pipeline(C(), LogisticRegression()).fit(N, y)",
    ],
    "a class attribute set later": [
        "class C(TransformerMixin, BaseEstimator):\n    by = 2\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X * self.by + self.more['x']",
        "C.by = 7\nC.more = {'x': 1}",
        "model = make_pipeline(C(), LogisticRegression()).fit(N, y)",
    ],
    "a method replaced later": [
        "class C(TransformerMixin, BaseEstimator):\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return X",
        "def better(self, X):\n    return X * 3\nC.transform = better",
        "model = make_pipeline(C(), LogisticRegression()).fit(N, y)",
    ],
    "a decorator's argument that changed": [
        "K = 3\ndef times(by):\n    def decorate(fn):\n        def inner(X):\n            return fn(X) * by\n        return inner\n    return decorate",
        "@times(K)\ndef f(X):\n    return X + 2",
        "K = 50",
        "def g(X):\n    return f(X)",
        PIPELINE.format("g"),
    ],
    "a decorator defined again": [
        "def loud(fn):\n    def inner(X):\n        return fn(X) + 1\n    return inner",
        "@loud\ndef f(X):\n    return X * 2",
        "def loud(fn):\n    def inner(X):\n        return fn(X) + 100\n    return inner",
        "def g(X):\n    return f(X)",
        PIPELINE.format("g"),
    ],
    "a constant as it is now": ["K = 2", "def f(X):\n    return X * K", "K = 5", PIPELINE.format("f")],
    "an instance attribute that is a function": [
        "model = LogisticRegression().fit(N, y)\nmodel.predict_proba = lambda X: np.ones((len(X), 2))"
    ],
    "an odd float": [
        "K = float('inf')\nE = ()\nS = {1}",
        "def f(X):\n    return np.minimum(X, K) + len(E) + len(S)",
        PIPELINE.format("f"),
    ],
}


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
    assert f"f_in{first}" in found["definitions"]
    assert any(
        f"f was defined again since; the one the model holds, of In[{first}]" in text for text in found["warnings"]
    )


def test_a_class_redefined_after_the_fit_travels_as_the_model_holds_it(session: Session) -> None:
    first, *_ = session.cells(
        SCALE.format(2), "model = make_pipeline(Scale(), LogisticRegression()).fit(N, y)", SCALE.format(50)
    )
    found = session.travels()
    assert f"Scale_in{first}" in found["definitions"]
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


BY_VALUE = {
    "recursive closure": [
        "def make(n):\n    def inner(X, depth=2):\n        return X if depth == 0 else inner(X, depth - 1) * n\n    return inner",
        PIPELINE.format("make(2)"),
    ],
    "exec without source": ["exec('def f(X):\\n    return X * 2.125')", PIPELINE.format("f")],
    "class made inside a function": [
        "def make(by):\n    class Made(TransformerMixin, BaseEstimator):\n        def fit(self, X, y=None):\n            return self\n        def transform(self, X):\n            return super().transform(X) if by is None else X * by * FACTOR\n    return Made\nFACTOR = 2",
        "Made = make(3)\nmodel = make_pipeline(Made(), LogisticRegression()).fit(N, y)",
    ],
    "exec that uses a function with source": [
        "def helper(X):\n    return X + K\nK = 4\nexec('def f(X):\\n    return helper(X) * np.float64(2)')",
        PIPELINE.format("f"),
    ],
    "closures that share a changing variable": [
        "def make():\n    n = 0\n    def count(X):\n        nonlocal n\n        n += 1\n        return X + min(n, 0)\n    return count",
        PIPELINE.format("make()"),
    ],
    "make_dataclass": [
        "from dataclasses import make_dataclass\nPoint = make_dataclass('Point', [('x', int)])\npoint = Point(3)",
        "def f(X):\n    return X * point.x",
        PIPELINE.format("f"),
    ],
}


@pytest.mark.parametrize("case", BY_VALUE)
def test_it_travels_by_value_with_a_warning(session: Session, case: str) -> None:
    session.cells(*BY_VALUE[case])
    found = session.travels()
    assert "value" in found["by"]
    assert found["same_minor"]
    assert any("travels as bytecode, because" in text for text in found["warnings"])
    assert "cloudpickle" in found["modules"]


REFUSED = {
    "generator": (
        "model = LogisticRegression().fit(N, y); model.g_ = (n for n in range(3))",
        "model.g_",
        "is a generator",
    ),
    "lock": (
        "import threading\nmodel = LogisticRegression().fit(N, y); model.parts = [{'k': threading.Lock()}]",
        "model.parts[0]['k']",
        "is a thread lock",
    ),
    "event": (
        "import threading\nmodel = LogisticRegression().fit(N, y); model.e = threading.Event()",
        "model.e",
        "is a thread lock",
    ),
    "thread": (
        "import threading\nmodel = LogisticRegression().fit(N, y); model.t = threading.Thread()",
        "model.t",
        "is a thread",
    ),
    "socket": (
        "import socket\nmodel = LogisticRegression().fit(N, y); model.s = socket.socket()",
        "model.s",
        "is a socket",
    ),
    "connection": (
        "import sqlite3\nmodel = LogisticRegression().fit(N, y); model.db = sqlite3.connect(':memory:')",
        "model.db",
        "is a database connection",
    ),
    "open file": (
        "model = LogisticRegression().fit(N, y); model.log = open('log.txt', 'w')",
        "model.log",
        "is the open file log.txt",
    ),
    "mmap": (
        "import mmap\nmodel = LogisticRegression().fit(N, y); model.m = mmap.mmap(-1, 10)",
        "model.m",
        "is a memory-mapped file",
    ),
    "process": (
        "import subprocess\nmodel = LogisticRegression().fit(N, y); model.p = subprocess.Popen(['true'])",
        "model.p",
        "is a running process",
    ),
    "weak reference": (
        "import weakref\nmodel = LogisticRegression().fit(N, y); model.w = weakref.ref(model)",
        "model.w",
        "is a weak reference",
    ),
    "pool": (
        "from concurrent.futures import ThreadPoolExecutor\nmodel = LogisticRegression().fit(N, y); model.pool = ThreadPoolExecutor(1)",
        "model.pool",
        "is a pool of threads",
    ),
    "an open file as a global": (
        "LOG = open('log.txt', 'w')\ndef f(X):\n    LOG.write('x')\n    return X\n" + PIPELINE.format("f"),
        "LOG",
        "is the open file log.txt",
    ),
    "a lock in a closure": (
        "import threading\ndef make(lock):\n    def f(X):\n        with lock:\n            return X\n    return f\nmodel = FunctionTransformer(make(threading.Lock()))",
        "model.func's variable lock",
        "is a thread lock",
    ),
    "a name only inside eval": (
        "LIMIT = 3\ndef f(X):\n    return eval('X * LIMIT')\n" + PIPELINE.format("f"),
        "f",
        "uses LIMIT only inside text given to eval()",
    ),
    "a name only through globals()": (
        "LIMIT = 3\ndef f(X):\n    return X * globals()['LIMIT']\n" + PIPELINE.format("f"),
        "f",
        "uses LIMIT only inside text given to globals()",
    ),
    "the notebook's namespace": (
        "import __main__\nmodel = LogisticRegression().fit(N, y); model.space = __main__",
        "model.space",
        "is this notebook's own namespace",
    ),
    "an object that refuses": (
        "class Odd:\n    def __reduce__(self):\n        raise RuntimeError('no way')\nmodel = LogisticRegression().fit(N, y); model.odd = Odd()",
        "model.odd",
        "no way",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_name(session: Session, case: str) -> None:
    cell, path, fact = REFUSED[case]
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
    assert names in found["refused"].replace(f" (made in In[{number}])", "")
    assert found["cell"] == f"In[{number}]"


MYLIB = "FACTOR = 3\n\ndef scaled(X):\n    return X * FACTOR\n\nclass Plus:\n    def __init__(self, n):\n        self.n = n\n    def __call__(self, X):\n        return X + self.n\n"


def test_a_local_module_is_copied_with_its_hash(session: Session) -> None:
    (session.folder / "mylib1.py").write_text(MYLIB)
    session.cells(
        "import mylib1\nfrom mylib1 import Plus, FACTOR",
        "def f(X):\n    return mylib1.scaled(X) * FACTOR",
        "model = make_pipeline(FunctionTransformer(f), FunctionTransformer(Plus(2)), FunctionTransformer(mylib1.scaled), LogisticRegression()).fit(N, y)",
    )
    found = session.readable()
    ((name, path, digest),) = found["local"]
    assert (name, path) == ("mylib1", "mylib1.py")
    assert digest.startswith("sha256:")
    assert "mylib1" not in found["modules"]


def test_a_local_package_with_relative_imports_is_copied(session: Session) -> None:
    package = session.folder / "mypkg1"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from .top import scaled\n")
    (package / "top.py").write_text(
        "from .deep.inner import power\nfrom mypkg1 import other\n\ndef scaled(X):\n    from mypkg1.late import shift\n    return power(X) + other.ONE + shift(X)\n"
    )
    (package / "other.py").write_text("import textwrap\nONE = 1\n")
    (package / "late.py").write_text("import scipy.special\n\ndef shift(X):\n    return scipy.special.expit(X)\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "inner.py").write_text("def power(X):\n    return X ** 2\n")
    session.cells("import mypkg1", PIPELINE.format("mypkg1.scaled"))
    found = session.readable()
    assert {name for name, *_ in found["local"]} == {
        "mypkg1",
        "mypkg1.top",
        "mypkg1.other",
        "mypkg1.late",
        "mypkg1.deep",
        "mypkg1.deep.inner",
    }
    assert "scipy.special" in found["modules"]


@pytest.mark.parametrize(
    ("name", "change", "fact"),
    [
        ("mylib2", MYLIB.replace("X * FACTOR", "X * FACTOR + 1"), "mylib2.scaled"),
        ("mylib3", MYLIB.replace("FACTOR = 3", "FACTOR = 2"), "mylib3.FACTOR is 3, the file says 2"),
        ("mylib4", MYLIB.replace("X + self.n", "X - self.n"), "mylib4.Plus.__call__"),
        ("mylib5", MYLIB + "\ndef more():\n    pass\n", "also has more"),
    ],
)
def test_a_local_module_edited_since_its_import_is_refused(session: Session, name: str, change: str, fact: str) -> None:
    file = session.folder / f"{name}.py"
    file.write_text(MYLIB)
    session.cells(f"import {name}", PIPELINE.format(f"{name}.scaled"))
    file.write_text(change)
    assert fact in session.capture()["refused"].replace(" (made", "(made")


def test_a_comment_added_to_a_local_module_changes_nothing(session: Session) -> None:
    (session.folder / "mylib6.py").write_text(MYLIB)
    session.cells("import mylib6", PIPELINE.format("mylib6.scaled"))
    (session.folder / "mylib6.py").write_text("# a comment\n\n" + MYLIB)
    session.readable()


def test_a_constant_of_a_module_patched_in_the_notebook_is_refused(session: Session) -> None:
    (session.folder / "mylib7.py").write_text(MYLIB)
    session.cells("import mylib7\nmylib7.FACTOR = 7", PIPELINE.format("mylib7.scaled"))
    assert "mylib7.FACTOR is 7, the file says 3" in session.capture()["refused"]


def test_a_model_of_a_class_whose_module_was_reloaded_is_refused(session: Session) -> None:
    (session.folder / "mylib8.py").write_text(MYLIB)
    session.cells("import mylib8, importlib", PIPELINE.format("mylib8.Plus(1)"), "importlib.reload(mylib8)")
    assert "before its module was imported again" in session.capture()["refused"]


def test_a_closure_and_a_lambda_of_a_local_module_go_by_value(session: Session) -> None:
    (session.folder / "mylib9.py").write_text(
        "import numpy as np\nK = 2\ndef make(n):\n    return lambda X: np.abs(X) * n * K\n"
    )
    session.cells("import mylib9", PIPELINE.format("mylib9.make(3)"))
    found = session.travels()
    assert found["same_minor"]


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
        "from nbdeploy.capture.code import capture_function\nmodel = capture_function(predict)",
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
    assert "# train.py\nK = 3" in found["text"]
    assert fresh.answer(tmp_path / "bundle") == {"same": True, "error": "", "methods": ["predict", "predict_proba"]}
