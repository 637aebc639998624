"""Models served in this process for the tests of the gate, and what their sections said."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bundles import write_src

from nbdeploy.capture.golden import observe
from nbdeploy.capture.metrics import task_of
from nbdeploy.capture.schema import infer
from nbdeploy.judge import records
from nbdeploy.run import memory
from nbdeploy.runtime.app import App
from nbdeploy.runtime.identity import Identity
from nbdeploy.runtime.model import ServedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


@contextmanager
def serving(model: Any, sample: Any, folder: Path, *, target: Any = None, version: str = "1.0.0") -> Iterator[str]:
    """The model's url, as the memory launcher would give it; open."""
    src = folder / f"src-{version}"
    manifest = write_src(src, model, observe(model, sample, infer(sample)))
    manifest = replace(manifest, model={"class": type(model).__name__, "task": task_of(model, target)})
    manifest = replace(manifest, digest=manifest.computed_digest())
    (src / "manifest.json").write_bytes(manifest.dumps())
    app = App(ServedModel.load(src), Identity("tried", version, manifest.digest, "nonce"), token_sha256=None, hosts=())
    app.ready = True
    url = f"memory://{folder.name}/{version}"
    engine = memory.Engine(app, "tried")
    memory._engines[url] = engine
    try:
        yield url
    finally:
        del memory._engines[url]
        engine.close()


@dataclass
class Said:
    """What was recorded and expected, as a reader of the notebook would have it."""

    outputs: list[dict[str, Any]] = field(default_factory=list)

    def show(self, forms: Any, about: Any = None) -> None:
        self.outputs.append({"data": forms})

    @property
    def found(self) -> dict[str, Any]:
        return {name: one.value for name, one in self._read().named.items()}

    @property
    def expected(self) -> dict[str, bool]:
        return {one.name: one.passed for one in self._read().expectations}

    def _read(self) -> records.Records:
        return records.read({"cells": [{"outputs": self.outputs}]})


def listen(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr(records, "show", said.show)
    return said


def held_out(X: Any, y: Any, file: Path) -> str:
    """A CSV file of both, the labels in a column called label."""
    X.assign(label=list(y)).to_csv(file, index=False)
    return str(file)
