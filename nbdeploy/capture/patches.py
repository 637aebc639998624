"""Libraries the notebook changed in place: in the service they would be as installed."""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.freeze import evaluated, literal
from nbdeploy.capture.source import underlying
from nbdeploy.capture.travel import cell_of
from nbdeploy.errors import CannotTravel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nbdeploy.capture.notebook import Notebook

_ADVICE = "put the change into a class of your own that inherits from it"
_ADVICE_MODULE = "put the change into a function of your own, or into the library"


def refuse_patches(classes: Iterable[type], modules: Iterable[str], notebook: Notebook) -> None:
    """Raises CannotTravel for the first class or module that holds something of the notebook."""
    seen: set[type] = set()
    for cls in classes:
        for kind in cls.__mro__:
            if kind not in seen and kind.__module__ not in {"builtins", "__main__"}:
                seen.add(kind)
                _refuse_class(kind, notebook)
    tops = {name.partition(".")[0] for name in modules}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in tops and name != "__main__" and isinstance(module, types.ModuleType):
            _refuse_module(name, module, notebook)
    for name, written, live in _changed_constants(tops, notebook):
        raise CannotTravel(name, f"is {live!r}, the file says {written!r}", _ADVICE_MODULE)


def _refuse_class(cls: type, notebook: Notebook) -> None:
    for key, value in vars(cls).items():
        if isinstance(value, FunctionType):
            if value.__globals__ is notebook.namespace:
                raise _replaced(f"{cls.__name__}.{key}", cls.__module__, value, notebook)
        elif isinstance(value, staticmethod | classmethod | property):
            for function in underlying(value):
                if function.__globals__ is notebook.namespace:
                    raise _replaced(f"{cls.__name__}.{key}", cls.__module__, function, notebook)


def _refuse_module(name: str, module: types.ModuleType, notebook: Notebook) -> None:
    own = notebook.namespace
    for key, value in list(vars(module).items()):
        if isinstance(value, FunctionType) and value.__globals__ is own and not _is_registered(module, key):
            raise _replaced(f"{name}.{key}", name, value, notebook)
        if isinstance(value, type) and value.__module__ == "__main__":
            raise _replaced(f"{name}.{key}", name, value, notebook)


def _is_registered(module: types.ModuleType, key: str) -> bool:
    """A callback the library keeps under a private name of its own is not one of its functions replaced."""
    return key.startswith("_") and key not in getattr(module, "__all__", ())


def _replaced(what: str, module: str, by: Any, notebook: Notebook) -> CannotTravel:
    library = module.partition(".")[0]
    fact = f"of {library} was replaced by '{by.__name__}'"
    return CannotTravel(what, fact, _ADVICE, cell_of(by, notebook))


def _changed_constants(tops: set[str], notebook: Notebook) -> Iterator[tuple[str, Any, Any]]:
    """Constants of modules that a cell assigned to, and that are not what the module's file says."""
    for module, attribute in _assigned_attributes(notebook):
        if module.__name__.partition(".")[0] not in tops:
            continue
        path = Path(getattr(module, "__file__", None) or "")
        if path.suffix != ".py" or not path.is_file():
            continue
        for item in ast.parse(path.read_bytes()).body:
            if isinstance(item, ast.Assign) and any(
                isinstance(to, ast.Name) and to.id == attribute for to in item.targets
            ):
                written = evaluated(item.value, {})
                live = vars(module).get(attribute)
                if literal(written) is not None and literal(written) != literal(live):
                    yield f"{module.__name__}.{attribute}", written, live


def _assigned_attributes(notebook: Notebook) -> Iterator[tuple[types.ModuleType, str]]:
    for text in notebook.sources("."):
        for statement in text.statements:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            targets = [statement.target] if isinstance(statement, ast.AugAssign) else targets
            for target in targets:
                if isinstance(target, ast.Attribute):
                    owner = evaluated(target.value, notebook.namespace)
                    if isinstance(owner, types.ModuleType):
                        yield owner, target.attr
