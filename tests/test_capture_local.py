"""Local modules: copied with their hash, refused where the file is not what runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sessions import PIPELINE

if TYPE_CHECKING:
    from sessions import Session

pytest_plugins = ["capture_sessions"]
pytestmark = pytest.mark.slow

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
