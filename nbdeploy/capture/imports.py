"""The import statement that gives a name of the notebook its value."""

from __future__ import annotations

import ast
import sys
import types
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdeploy.capture.notebook import Notebook


class Imports:
    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook

    def line_for(self, name: str, value: Any) -> str | None:
        """The notebook's own statement where it still gives the identical object; else one that does, for code."""
        starred = [(module, name) for module, _ in self._written.get("*", ())]
        for module, original in [*self._written.get(name, ()), *starred]:
            if _given(module, original) is value:
                return _line(module, original, name)
        home = self.home_of(value)
        return _line(home, value.__name__, name) if home else None

    def home_of(self, value: Any) -> str | None:
        """The module a library's function or class can be imported from under its own name."""
        if isinstance(value, types.ModuleType):
            return None
        own, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
        if type(value).__name__ == "ufunc":
            module = "numpy"
        if not isinstance(own, str) or not isinstance(module, str) or module == "__main__" or not callable(value):
            return None
        return module if _given(module, own) is value else None

    @cached_property
    def _written(self) -> dict[str, list[tuple[str, str | None]]]:
        found: dict[str, list[tuple[str, str | None]]] = {}
        for text in self.notebook.sources("import"):
            for node in ast.walk(text.tree) if text.tree else ():
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        module = alias.name if alias.asname else alias.name.partition(".")[0]
                        found.setdefault(alias.asname or module, []).append((module, None))
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    for alias in node.names:
                        found.setdefault(alias.asname or alias.name, []).append((node.module, alias.name))
        return found


def _given(module: str, original: str | None) -> Any:
    """What the import would give now, None for nothing: no import is run for it."""
    loaded = sys.modules.get(module)
    if original is None or loaded is None:
        return loaded
    return vars(loaded).get(original, sys.modules.get(f"{module}.{original}"))


def _line(module: str, original: str | None, name: str) -> str:
    if original is None:
        return f"import {module}" if module == name else f"import {module} as {name}"
    return f"from {module} import {original}" if original == name else f"from {module} import {original} as {name}"
