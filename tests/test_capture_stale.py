"""Edited, deleted and out-of-order cells, as a kernel and a saved notebook tell them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ASK = """
def _ask(model):
    from nbdeploy.capture.code import capture_model
    from nbdeploy.capture.stale import warnings
    return list(warnings(get_ipython(), capture_model(model)))
"""
CLASS = "class Twice:\n    def predict(self, X):\n        return [x * {0} for x in X]"
EMPTIED = "%reset -f\nget_ipython().history_manager.reset(); get_ipython().execution_count = 1"
UNWATCHED = "from nbdeploy.capture.stale import unwatch, watch\nunwatch(get_ipython())"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Path]]:
    path = tmp_path_factory.mktemp("stale") / "work.ipynb"
    with Kernel(path.parent, {"JPY_SESSION_NAME": str(path)}) as kernel:
        yield kernel, path


@pytest.fixture(params=["ids", "no ids"])
def notebook(request: pytest.FixtureRequest, work: tuple[Kernel, Path]) -> Written:
    """An empty one, in a kernel that forgot all."""
    kernel, path = work
    path.unlink(missing_ok=True)
    ids = request.param == "ids"
    kernel.run(EMPTIED)
    kernel.run(f"{UNWATCHED}\n{'watch(get_ipython()); watch(get_ipython())' if ids else ''}\n{ASK}")
    return Written(kernel, path, ids=ids)


class Written:
    """A notebook as a user has it open: cells with ids, run in any order, saved when told."""

    def __init__(self, kernel: Kernel, path: Path, *, ids: bool) -> None:
        self.kernel, self.path, self.ids = kernel, path, ids
        self.cells: dict[str, str] = {}

    def run(self, name: str, text: str) -> int:
        self.cells[name] = text
        return self.kernel.finish(self.kernel.send(text, cell_id=name if self.ids else None)).number

    def save(self) -> None:
        cells = [
            {"cell_type": "code", "id": name, "source": text.splitlines(keepends=True)}
            for name, text in self.cells.items()
        ]
        self.path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "x"}, *cells], "nbformat": 4}))

    def warnings(self, model: str = "model") -> Any:
        return self.kernel.value(f"_ask({model})")


def test_nothing_is_said_of_a_notebook_run_from_top_to_bottom(notebook: Written) -> None:
    notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    assert notebook.warnings() == []
    notebook.save()
    assert notebook.warnings() == []


def test_nothing_is_said_of_a_notebook_saved_before_its_cells_ran(notebook: Written) -> None:
    notebook.save()
    notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    assert notebook.warnings() == []


def test_a_cell_edited_and_not_run_again_is_named(notebook: Written) -> None:
    number = notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    notebook.cells["a"] = CLASS.format(3)
    notebook.save()
    (sentence,) = notebook.warnings()
    assert f"the cell of In[{number}] (Twice)" in sentence
    assert "edited" in sentence
    assert "work.ipynb" in sentence


def test_a_cell_edited_and_run_again_after_the_fit_is_named(notebook: Written) -> None:
    number = notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    again = notebook.run("a", CLASS.format(3))
    notebook.run("c", "1")
    notebook.save()
    (sentence,) = notebook.warnings()
    assert f"In[{number}]" in sentence
    assert (f"run again as In[{again}]" if notebook.ids else "edited or deleted since") in sentence


def test_a_deleted_cell_is_named(notebook: Written) -> None:
    number = notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    del notebook.cells["a"]
    notebook.save()
    (sentence,) = notebook.warnings()
    assert f"In[{number}]" in sentence
    assert ("no longer in" if notebook.ids else "edited or deleted since") in sentence


def test_cells_run_out_of_order_are_named_only_where_it_matters(notebook: Written) -> None:
    notebook.run("a", CLASS.format(2))
    notebook.run("other", "x = 1")
    notebook.run("b", CLASS.format(3))
    notebook.run("other", "x = 1")
    last = notebook.run("a", CLASS.format(2))
    notebook.run("c", "model = Twice()")
    notebook.save()
    (sentence,) = notebook.warnings()
    assert sentence.startswith(f"Twice is defined in several cells; the one run last, In[{last}]")


def test_a_damaged_notebook_file_says_nothing(notebook: Written) -> None:
    notebook.run("a", CLASS.format(2))
    notebook.run("b", "model = Twice()")
    for damaged in ("", "[]", '{"cells": [{"source": 3}]}', '{"cells": {}}'):
        notebook.path.write_text(damaged)
        assert notebook.warnings() == []


def test_the_cells_behind_a_model_are_found(notebook: Written) -> None:
    first = notebook.run("a", CLASS.format(2))
    notebook.run("x", "unrelated = 5")
    second = notebook.run("b", "model = Twice()")
    notebook.kernel.run("from nbdeploy.capture.stale import cells_of")
    assert notebook.kernel.value("[c.number for c in cells_of('model', get_ipython())]") == [first, second]
    told = notebook.kernel.value("[[c.number, c.id, c.success] for c in cells_of('Twice', get_ipython())]")
    assert told == [[first, "a", True] if notebook.ids else [first, None, None]]


def test_watching_ends_when_told(notebook: Written) -> None:
    notebook.kernel.run(
        "from nbdeploy.capture.stale import unwatch, executed; unwatch(get_ipython()); unwatch(get_ipython())"
    )
    notebook.run("a", "z = 1")
    assert notebook.kernel.value("[c.id for c in executed(get_ipython())][-1]") is None
