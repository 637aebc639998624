"""A bundle's model, loaded and able to answer rows."""

from __future__ import annotations

import json
import pickle
import sys
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from . import answers, tables
from .answers import ModelFault
from .manifest import Manifest, altered
from .proof import findings
from .schema import Contract, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .manifest import Method

GOLDEN = "golden.json"
CAPTURED = "captured"

__all__ = ["CannotLoad", "ModelFault", "ServedModel"]


class CannotLoad(Exception):  # said of a bundle
    """The bundle was altered, or this interpreter does not satisfy it; `problems` are sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


class ServedModel:
    """`model` is the unpickled object itself."""

    def __init__(self, model: Any, manifest: Manifest, golden: dict[str, Any]) -> None:
        self.model = model
        self.manifest = manifest
        self.contract = Contract(manifest.schema)
        self._golden = golden
        self._build = tables.builder_of(manifest.schema)
        self._methods: dict[str, tuple[Callable[[Any], Any], Method]] = {
            method.name: (bound(model, method.name), method) for method in manifest.methods
        }

    @classmethod
    def load(cls, src: Path, *, guard: bool = False) -> ServedModel:
        """The bundle in folder `src`. With `guard` this interpreter serves nothing else: imports from outside the lock
        are refused from now on.

        Raises:
            CannotLoad: before anything was unpickled.
            ManifestError: the same, for a manifest that cannot be read.
        """
        from . import environment

        manifest = Manifest.load(src)
        found = altered(src, manifest) or environment.problems(manifest.environment)
        if found:
            raise CannotLoad(found)
        if guard:
            _install_guard(environment, manifest, src)
        with _captured(src / CAPTURED), (src / manifest.artefact).open("rb") as file:
            model = pickle.load(file)
        return cls(model, manifest, json.loads((src / GOLDEN).read_bytes()))

    def decode(self, body: bytes) -> Request:
        """Raises Refusal."""
        return self.contract.decode(body)

    def answer(self, method: str, rows: Sequence[Any]) -> list[Any]:
        """JSON-ready predictions, one a row. Raises ModelFault, and whatever the model itself raises."""
        call, described = self._methods[method]
        if not rows:
            return []
        return answers.encode(described.output, call(self._build(rows)), len(rows))

    def native(self, method: str, predictions: Sequence[Any], *, index: Any = None) -> Any:
        """What the method itself would have returned."""
        return answers.decode(self._methods[method][1].output, predictions, index=index)

    def verify(self) -> list[str]:
        """Golden and edge rows against the kernel's answers, by the way every request takes; [] when ready."""
        return findings(self, self._golden)


def bound(model: Any, method: str) -> Callable[[Any], Any]:
    """The method to call. One that fits anew works on a copy, so that the model stays as it was."""

    def anew(table: Any) -> Any:
        return getattr(deepcopy(model), method)(table)

    call: Callable[[Any], Any] = anew if method.startswith("fit_") else getattr(model, method)
    return call


def _install_guard(environment: Any, manifest: Manifest, src: Path) -> None:
    allowed = [*manifest.environment.get("modules", ()), __package__.partition(".")[0]]
    environment.install_guard(allowed, [src, src / CAPTURED], manifest.environment.get("requirements", ()))


@contextmanager
def _captured(folder: Path) -> Iterator[None]:
    """The folder's modules are imported afresh, whatever goes by their names here already.

    Afterwards those that were here are back, and the folder comes last on the path: a kernel that loads a bundle keeps
    its own modules, while code that imports when it is called still finds the captured ones.
    """
    names = {path.stem if path.is_file() else path.name for path in folder.glob("*")} if folder.is_dir() else set()
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if names:
            sys.path.append(str(folder))
        sys.modules.update(hidden)
