"""Definitions for the module: a live function, class or value, and everything it needs."""

from __future__ import annotations

import ast
import functools
import keyword
import sys
import types
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import lookups
from nbdeploy.capture.freeze import literal, same
from nbdeploy.capture.imports import Imports
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import (
    Found,
    NoSource,
    compiled,
    find_assignment,
    find_function,
    is_closure,
    is_dispatch,
    underlying,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbdeploy.capture.notebook import Notebook

_FUTURE_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS


class Definitions:
    """Grows by `reference` and `bind`; `nodes` is what the module will hold.

    `store(name, value)` pickles a value into a data file and says which nodes its pickle refers to.
    """

    def __init__(self, notebook: Notebook, store: Callable[[str, Any], set[str]]) -> None:
        self.notebook = notebook
        self.imports = Imports(notebook)
        self.nodes: dict[str, Node] = {}
        self.modules: set[str] = set()
        self.warnings: dict[str, None] = {}
        self.found: dict[int, Found] = {}
        self.future_annotations = False
        self.in_text: dict[str, tuple[str, str, str | None]] = {}  # used only in evaluated text -> by whom, how, cell
        self.users: dict[str, str] = {}  # name -> the first definition that uses it
        self._store = store
        self._named: dict[int, str] = {}
        self._bound: dict[str, Any] = {}
        self._kept: list[Any] = []
        self._hopeless: dict[int, str] = {}
        self._open: set[int] = set()
        self.factories: dict[tuple[int, ...], str] = {}

    # -- what the walk asks ---------------------------------------------------------------------------------------

    def reference(self, value: Any) -> str:
        """The module's name for a function or class of the notebook, defined first if need be. Raises NoSource."""
        if id(value) in self._named:
            return self._named[id(value)]
        with self.attempt(value):
            return self._define(value)

    def factory(self, function: FunctionType) -> str:
        """The module's name for the function that makes closures like this one. Raises NoSource."""
        from nbdeploy.capture.functions import define_factory, factory_key

        if factory_key(function) in self.factories:
            return self.factories[factory_key(function)]
        with self.attempt(function.__code__):
            return define_factory(self, function)

    @contextmanager
    def attempt(self, value: Any) -> Iterator[None]:
        """Take back what was defined when it turns out that `value` has no source."""
        if id(value) in self._hopeless:
            raise NoSource(self._hopeless[id(value)])
        if id(value) in self._open:
            raise NoSource("it refers to itself")
        saved = self.nodes, self._named, self._bound, self.warnings, self.factories
        self.nodes, self._named, self._bound, self.warnings, self.factories = (dict(part) for part in saved)  # type: ignore[assignment]
        self._kept.append(value)
        self._open.add(id(value))
        try:
            yield
        except NoSource as why:
            self.nodes, self._named, self._bound, self.warnings, self.factories = saved
            self._hopeless[id(value)] = str(why)
            raise
        finally:
            self._open.discard(id(value))

    def is_open(self, value: Any) -> bool:
        """Whether `value` is being defined just now."""
        return id(value) in self._open

    def bind(self, name: str, value: Any, *, by: str = "") -> None:
        """Make `name` mean `value` in the module. Raises NoSource where it already means something else."""
        if name in self._bound:
            if self._bound[name] is not value and not same(self._bound[name], value):
                raise NoSource(f"{name} means two things")
            return
        self._bound[name] = value
        self._kept.append(value)
        self.users.setdefault(name, by)
        if isinstance(value, types.ModuleType):
            self._add_module(name, value)
        elif (line := self.imports.line_for(name, value)) is not None:
            self._add_import(name, line, value)
        elif self.is_own(value):
            self._bind_own(name, value)
        elif (text := literal(value)) is not None:
            self._add_value(name, f"{name} = {text}")
        else:
            self._add_data(name, value)

    def frozen(self, value: Any, hint: str) -> tuple[str, set[str]]:
        """An expression that means `value`, and the names it needs."""
        if (text := literal(value)) is not None:
            return text, set()
        name = self._shared_name(value) or self.free_name(hint)
        if name in self._bound and self._bound[name] is value:
            return name, {name}
        if isinstance(value, type) or (self.is_own(value) and not is_closure(value)):
            try:
                return self._named_definition(value)
            except NoSource:
                pass
        if self.is_own(value):
            self._bound[name] = value
            self._bind_own(name, value)
        else:
            self.bind(name, value)
        return name, {name}

    def _named_definition(self, value: Any) -> tuple[str, set[str]]:
        if not self.is_own(value):
            raise NoSource("it is a library's")
        name = self.reference(value)
        return name, {name.partition(".")[0]}

    def _shared_name(self, value: Any) -> str | None:
        """The notebook's own name for something of a library: `np`, `StandardScaler`."""
        if isinstance(value, types.ModuleType) or self.imports.home_of(value):
            alias = self.alias_of(value)
            return alias if alias and (alias not in self._bound or self._bound[alias] is value) else None
        return None

    def bound_name(self, value: FunctionType) -> str | None:
        """The module's name for a closure: where it has one already, or the notebook has one and decorators made it."""
        from nbdeploy.capture.decorated import decorated

        if id(value) in self._named:
            return self._named[id(value)]
        for name in dict.fromkeys((value.__name__, self.alias_of(value) or "")):
            if name and self.notebook.namespace.get(name) is value and name not in self._bound:
                try:
                    with self.attempt(value):
                        self.remember(value, name)
                        self.nodes[name] = decorated(self, name, value) or _nothing()
                        return name
                except NoSource:
                    self._hopeless.pop(id(value))  # a factory may still make it
        return None

    def is_own(self, value: Any) -> bool:
        """Whether `value` is a function or class the notebook defined."""
        if isinstance(value, FunctionType):  # `functools.wraps` of a library calls its wrapper ours
            return self.notebook.is_own(value.__globals__) or value.__module__ == "__main__"
        if isinstance(value, type):
            return value.__module__ == "__main__"
        wrapped = getattr(value, "__wrapped__", None) if isinstance(value, _CACHED) else None
        return wrapped is not None and self.is_own(wrapped)

    # -- defining -------------------------------------------------------------------------------------------------

    def _define(self, value: Any) -> str:
        from nbdeploy.capture.dispatch import define_dispatch
        from nbdeploy.capture.functions import define_cached, define_function

        if isinstance(value, type):
            from nbdeploy.capture.classes import define_class

            return define_class(self, value)
        if is_dispatch(value):
            return define_dispatch(self, value)
        if isinstance(value, FunctionType):
            return define_function(self, value)
        return define_cached(self, value)

    def _bind_own(self, name: str, value: Any) -> None:
        from nbdeploy.capture.functions import bind_closure

        try:
            if is_closure(value):
                bind_closure(self, name, value)
                return
            own = self.reference(value)
        except NoSource:
            self._add_data(name, value)
            return
        if own != name:
            self.nodes[name] = Node(
                name, "value", f"{name} = {own}", self.nodes[own].label, self.nodes[own].number, {own}
            )

    # -- pieces ---------------------------------------------------------------------------------------------------

    def find(self, function: FunctionType) -> Found:
        key = id(function.__code__)
        if not self.notebook.is_own(function.__globals__):
            raise NoSource("a library made it around a function of the notebook")
        if key not in self.found:
            found = find_function(function.__code__, self.notebook)
            if found is None:
                raise NoSource("no cell has source that compiles to it")
            self._kept.append(function.__code__)
            self.found[key] = found
        return self.found[key]

    def bind_at_once(
        self, text: str, scope: Mapping[str, Any], flags: int, without: set[str], *, lambdas: bool = True
    ) -> set[str]:
        """Bind what executing `text` looks up; returns those names."""
        needs: set[str] = set()
        for statement in ast.parse(text).body:
            for name in lookups.needed_at_once(compiled([statement], flags), lambdas=lambdas):
                if (
                    name in scope
                    and name not in without
                    and not _is_machinery(name)
                    and not self.notebook.is_notebooks_only(name, scope[name])
                ):
                    self.bind(name, scope[name])
                    needs.add(name)
        return needs

    def add_uses(self, function: FunctionType) -> set[str]:
        """Bind what a function looks up when it runs; gives those names."""
        found: set[str] = set()
        code, scope = function.__code__, function.__globals__
        self.future_annotations |= bool(code.co_flags & _FUTURE_ANNOTATIONS)
        self.modules |= lookups.imported(code)
        for name in lookups.used(code):
            if name in scope and not _is_machinery(name) and not self.notebook.is_notebooks_only(name, scope[name]):
                self.bind(name, scope[name], by=function.__qualname__)
                found.add(name)
                if isinstance(scope[name], types.ModuleType):
                    self._add_submodules(name, scope[name], lookups.attributes(code))
            elif self.notebook.exists_only_here(name):
                self.warn(f"{function.__qualname__} uses {name}, which exists only in a notebook")
        self.note_evaluated_text(function)
        return found

    def note_evaluated_text(self, function: FunctionType) -> None:
        code, scope = function.__code__, function.__globals__
        known = frozenset(name for name in scope if not self.notebook.is_notebooks_only(name, scope[name]))
        for name, how in lookups.only_in_text(code, known).items():
            found = self.found.get(id(code))
            self.in_text.setdefault(name, (function.__qualname__, how, found.place.label if found else None))
        if lookups.evaluates_text(code):
            self.warn(f"{function.__qualname__} evaluates text made while it runs; names used only there do not travel")

    def add(self, node: Node, found: Found) -> None:
        node.label, node.number = found.place.label, found.place.number
        self.nodes[node.name] = node

    def warn(self, sentence: str) -> None:
        self.warnings[sentence] = None

    def name_for(self, value: Any, plain: str) -> str:
        """`plain` where the notebook means this object by it; else another name of it, or one that says what it is.

        No cell's number: the same notebook run again must give the same module.
        """
        if plain and self.notebook.namespace.get(plain) is value:
            return plain
        if not plain and (alias := self.alias_of(value)):
            return alias
        return self.free_name(f"{plain.strip('_') or 'unnamed'}_held" if plain else "a_lambda")

    def alias_of(self, value: Any) -> str | None:
        scope = self.notebook.namespace
        return next((name for name, held in scope.items() if held is value and not name.startswith("_")), None)

    def free_name(self, wanted: str) -> str:
        wanted = wanted if wanted.isidentifier() and not keyword.iskeyword(wanted) else f"value_{wanted.strip('<>')}"
        name, count = wanted, 1
        while name in self._bound or name in self.nodes or (count == 1 and name in self.notebook.namespace):
            count += 1
            name = f"{wanted}_{count}"
        return name

    def warn_redefined(self, value: Any, name: str, found: Found) -> None:
        plain = value.__name__
        current = self.notebook.namespace.get(plain)
        if (
            plain in {name, "_"}
            or not plain.isidentifier()
            or not (isinstance(current, type | FunctionType) and self.is_own(current))
        ):
            return
        if any(inner is value for inner in underlying(current)):
            return  # decorated, not redefined
        self.warn(
            f"{plain} was defined again since; the one the model holds, of {found.place.label}, travels as {name}"
        )

    def remember(self, value: Any, name: str) -> None:
        self._named[id(value)] = name
        self._bound.setdefault(name, value)
        self._kept.append(value)

    # -- values and imports ---------------------------------------------------------------------------------------

    def _add_module(self, name: str, module: types.ModuleType) -> None:
        dotted = module.__name__
        line = self.imports.line_for(name, module)
        if line is None:
            parent, _, last = dotted.rpartition(".")
            line = (
                f"import {dotted}"
                if name == dotted
                else f"from {parent} import {last}"
                if last == name and parent
                else f"import {dotted} as {name}"
            )
        self.modules.add(dotted)
        self.nodes[name] = Node(name, "import", line)

    def _add_submodules(self, name: str, module: types.ModuleType, used: frozenset[str]) -> None:
        """`import a.b` where a function says `a.b.f`: importing a alone may not bring a.b."""
        for attribute in used & vars(module).keys():
            inner = vars(module)[attribute]
            if (
                isinstance(inner, types.ModuleType)
                and inner.__name__ == f"{module.__name__}.{attribute}" in sys.modules
            ):
                if hasattr(module, "__path__") and inner.__name__ not in self.modules:
                    self.modules.add(inner.__name__)
                    hidden = "" if name == module.__name__ else f" as _{inner.__name__.replace('.', '_')}"
                    self.nodes[f"import {inner.__name__}"] = Node(
                        inner.__name__, "import", f"import {inner.__name__}{hidden}"
                    )
                self._add_submodules(name, inner, used)

    def _add_import(self, name: str, line: str, value: Any) -> None:
        self.nodes[name] = Node(name, "import", line)
        self.modules.add(line.split()[1])
        home = getattr(value, "__module__", None)
        if isinstance(home, str) and home in sys.modules:
            self.modules.add(home)

    def _add_value(self, name: str, text: str) -> None:
        place = find_assignment(name, self.notebook)
        self.nodes[name] = Node(name, "value", text, place.label if place else "", place.number if place else None)

    def _add_data(self, name: str, value: Any) -> None:
        place = find_assignment(name, self.notebook)
        node = Node(
            name,
            "data",
            f'{name} = _notebook_data("{name}")',
            place.label if place else "",
            place.number if place else None,
        )
        self.nodes[name] = node
        node.needs = self._store(name, value) - {name}


def _is_machinery(name: str) -> bool:
    """`__name__` and its like: every module has its own."""
    return name.startswith("__") and name.endswith("__")


def _nothing() -> Node:
    raise NoSource("decorators as they are now would make something else")


_CACHED = type(functools.lru_cache(lambda: None))
