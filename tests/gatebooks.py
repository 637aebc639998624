"""Gate notebooks written for a test, and a run of them that starts no kernel."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import nbformat

from nbdeploy.execution import DONE
from nbdeploy.judge.gatebook import Executed
from nbdeploy.judge.records import Expectation, Record, Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pytest

PARAMETERS = 'url = ""\ntoken_file = ""\ndata = ""\ntarget = ""\nlive_url = ""\nlimit = 0.5\n'


def notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a parameters cell and these."""
    node = nbformat.v4.new_notebook()
    node.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *cells)]
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, path)
    return path


@dataclass
class FakeRun:
    """In the place of a kernel: what the notebook would have recorded; `given` is what it was run with, each time."""

    metrics: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, bool] = field(default_factory=dict)
    ended: str = DONE
    given: list[dict[str, Any]] = field(default_factory=list)
    during: Callable[[], object] | None = None

    def __call__(self, book: Any, parameters: Mapping[str, Any], *, folder: Path, **_: Any) -> Executed:
        self.given.append(dict(parameters))
        executed = folder / "executed.ipynb"
        nbformat.write(book.node, executed)
        if self.during is not None:
            self.during()
        records = {name: Record(name, "number", value) for name, value in self.metrics.items()}
        expectations = tuple(Expectation(name, passed) for name, passed in self.expected.items())
        return Executed(executed, Records(records, expectations), self.ended, 0.1)


def faked(monkeypatch: pytest.MonkeyPatch, **said: Any) -> FakeRun:
    """Neither a kernel nor a temporary service: a run that says this, asked of services that are none."""
    run = FakeRun(**said)

    @contextmanager
    def trial(_settings: Any, _registry: Any, bundle: Any, _progress: Any) -> Iterator[Any]:
        yield SimpleNamespace(url=f"http://trial/{bundle.digest[-8:]}")

    monkeypatch.setattr("nbdeploy.judge.gatebook.run", run)
    monkeypatch.setattr("nbdeploy.gating.trial", trial)
    return run
