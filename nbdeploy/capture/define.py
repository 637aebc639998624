"""Definitions for the module: a live function, class or value, and everything it needs."""

from __future__ import annotations

import ast
import functools
import keyword
import sys
import types
from types import FunctionType
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import names
from nbdeploy.capture.freeze import compiles_to, defaults_of, evaluated, literal, same, written
from nbdeploy.capture.imports import Imports
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import Found, compiled, contents, find_assignment, find_function, underlying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbdeploy.capture.notebook import Notebook

_FUTURE_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS


class NoSource(Exception):  # noqa: N818 - a fact about an object, caught here and in the walk
    """This object cannot be written as source; `str` says why."""


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
        self._open: list[int] = []

    # -- what the walk asks ---------------------------------------------------------------------------------------

    def reference(self, value: Any) -> str:
        """The module's name for a function or class of the notebook, defined first if need be. Raises NoSource."""
        if id(value) in self._named:
            return self._named[id(value)]
        if id(value) in self._hopeless:
            raise NoSource(self._hopeless[id(value)])
        saved = self._state()
        self._kept.append(value)
        self._open.append(id(value))
        try:
            return self._define(value)
        except NoSource as why:
            self._restore(saved)
            self._hopeless[id(value)] = str(why)
            raise
        finally:
            self._open.remove(id(value))

    def factory(self, function: FunctionType) -> str:
        """The module's name for the function that makes closures like this one. Raises NoSource."""
        if id(function) in self._hopeless:
            raise NoSource(self._hopeless[id(function)])
        saved = self._state()
        try:
            return self._define_factory(function)
        except NoSource as why:
            self._restore(saved)
            self._hopeless[id(function)] = str(why)
            raise

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
        if isinstance(value, type) or (self.is_own(value) and not self._is_closure(value)):
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
            alias = self._alias_of(value)
            return alias if alias and (alias not in self._bound or self._bound[alias] is value) else None
        return None

    def bound_name(self, value: FunctionType) -> str | None:
        """The module's name for a closure: where it has one already, or the notebook has one and decorators made it."""
        from nbdeploy.capture.decorated import decorated

        if id(value) in self._named:
            return self._named[id(value)]
        for name in dict.fromkeys((value.__name__, self._alias_of(value) or "")):
            if name and self.notebook.namespace.get(name) is value and name not in self._bound:
                saved = self._state()
                self.remember(value, name)
                node = decorated(self, name, value)
                if node is not None:
                    self.nodes[name] = node
                    return name
                self._restore(saved)
        return None

    def is_own(self, value: Any) -> bool:
        """Whether `value` is a function or class the notebook defined."""
        if isinstance(value, FunctionType):
            return self.notebook.is_own(value.__globals__)
        if isinstance(value, type):
            return value.__module__ == "__main__"
        wrapped = getattr(value, "__wrapped__", None) if isinstance(value, _CACHED) else None
        return wrapped is not None and self.is_own(wrapped)

    # -- defining -------------------------------------------------------------------------------------------------

    def _define(self, value: Any) -> str:
        if isinstance(value, type):
            from nbdeploy.capture.classes import define_class

            return define_class(self, value)
        if isinstance(value, FunctionType):
            return self._define_function(value)
        return self._define_cached(value)

    def _define_function(self, function: FunctionType) -> str:
        found = self.find(function)
        if self._is_closure(function):
            raise NoSource("it is a closure")
        if found.around and not all(isinstance(node, ast.FunctionDef) for node in found.around):
            raise NoSource("it stands inside a class")
        is_lambda = isinstance(found.node, ast.Lambda)
        name = self._name_for(function, found, "" if is_lambda else function.__name__)
        self._named[id(function)] = name
        owns_name = not is_lambda and name == function.__name__
        text, edits = self._text_of(function, found)
        if is_lambda:
            text = f"{name} = {text}"
        elif not owns_name or not found.is_top_level:
            text = text if owns_name else made_by(f"_make_{name}", (), function.__name__, text) + f"\n\n{name} = _make_{name}()"
        self._bound.setdefault(name, function)
        self.add(Node(name, "lambda" if is_lambda else "function", text, needs=edits), found, function)
        self.add_needs(function)
        self._warn_redefined(function, name, found)
        return name

    def _define_factory(self, function: FunctionType) -> str:
        code = function.__code__
        found = self.find(function)
        if any(isinstance(node, ast.ClassDef) for node in found.around) or "__class__" in code.co_freevars:
            raise NoSource("it is a method of a class made inside a function")
        if names.changes_closure(code):
            raise NoSource("it changes variables of the function around it")
        if len(contents(function)) != len(code.co_freevars):
            raise NoSource("a variable of the function around it has no value yet")
        base = "lambda" if code.co_name == "<lambda>" else code.co_name
        name = f"_make_{base}{'_in' + str(found.place.number) if found.place.number else ''}"
        text, edits = self._text_of(function, found)
        inner = f"_{base}" if isinstance(found.node, ast.Lambda) else code.co_name
        body = f"{inner} = {text}" if isinstance(found.node, ast.Lambda) else text
        text = made_by(name, code.co_freevars, inner, body)
        if not compiles_to(text, found.code or code, code.co_flags):
            raise NoSource("its text compiles to something else on its own")
        while name in self.nodes and self.nodes[name].text != text:
            fresh = f"{name}_2"
            text = text.replace(f"def {name}(", f"def {fresh}(", 1)
            name = fresh
        if name not in self.nodes:
            self.add(Node(name, "closure", text, needs=edits), found, function)
        self.add_needs(function)
        return name

    def _define_cached(self, value: Any) -> str:
        """`functools.lru_cache` around a function."""
        inner = value.__wrapped__
        settings = value.cache_parameters()
        kept = f"functools.lru_cache(maxsize={settings['maxsize']}, typed={settings['typed']})"
        name = self._alias_of(value) or self.free_name(f"{inner.__name__}_cached")
        self._named[id(value)] = name
        self._bound.setdefault(name, value)
        self.bind("functools", functools)
        if self._is_closure(inner):
            expression, needs = self._closure_call(inner)
        else:
            found = self.find(inner)
            if found.is_top_level and name == inner.__name__:
                return self._decorated_by_cache(value, found, kept)
            expression = self.reference(inner)
            needs = {expression}
        found = self.find(inner)
        self.add(Node(name, "function", f"{name} = {kept}({expression})", needs=needs | {"functools"}), found, inner)
        return name

    def _decorated_by_cache(self, value: Any, found: Found, kept: str) -> str:
        inner = value.__wrapped__
        text, edits = self._text_of(inner, found)
        self.add(Node(inner.__name__, "function", f"@{kept}\n{text}", needs=edits | {"functools"}), found, inner)
        self.add_needs(inner)
        return str(inner.__name__)

    def _bind_own(self, name: str, value: Any) -> None:
        try:
            if isinstance(value, FunctionType) and self._is_closure(value):
                self._bind_closure(name, value)
                return
            own = self.reference(value)
        except NoSource:
            self._add_data(name, value)
            return
        if own != name:
            self.nodes[name] = Node(name, "value", f"{name} = {own}", self.nodes[own].label, self.nodes[own].number, {own})

    def _bind_closure(self, name: str, function: FunctionType) -> None:
        from nbdeploy.capture.decorated import decorated

        if id(function) in self._open:
            raise NoSource("it refers to itself")
        self._open.append(id(function))
        saved = self._state()
        try:
            if (node := decorated(self, name, function)) is not None:
                self._named[id(function)] = name
                self.nodes[name] = node
                return
            expression, needs = self._closure_call(function)
            text = f"{name} = {expression}"
            for line, more in self.attributes_of(name, function):
                text += f"\n{line}"
                needs |= more
            self._named[id(function)] = name
            self.add(Node(name, "value" if "\n" not in text else "closure", text, needs=needs), self.find(function), function)
        except NoSource:
            self._restore(saved)
            raise
        finally:
            self._open.remove(id(function))

    def _closure_call(self, function: FunctionType) -> tuple[str, set[str]]:
        maker = self.factory(function)
        needs, given = {maker}, []
        for variable, value in zip(function.__code__.co_freevars, contents(function), strict=True):
            if value is function or id(value) in self._open:
                raise NoSource("it refers to itself")
            expression, more = self.frozen(value, f"{function.__name__.strip('<>')}_{variable}")
            needs |= more
            given.append(f"{variable}={expression}")
        return f"{maker}({', '.join(given)})", needs

    def attributes_of(self, name: str, function: FunctionType) -> list[tuple[str, set[str]]]:
        """Lines that give a function what its definition does not: attributes, and what `functools.wraps` copied."""
        lines = []
        for key, value in vars(function).items():
            if key.isidentifier() and not keyword.iskeyword(key):
                expression, needs = self.frozen(value, f"{name}_{key.strip('_')}")
                lines.append((f"{name}.{key} = {expression}", needs))
        if function.__name__ != function.__code__.co_name:
            lines.append((f"{name}.__name__ = {function.__name__!r}", set()))
        return lines

    # -- pieces ---------------------------------------------------------------------------------------------------

    def find(self, function: FunctionType) -> Found:
        key = id(function.__code__)
        if key not in self.found:
            found = find_function(function.__code__, self.notebook)
            if found is None:
                raise NoSource("no cell has source that compiles to it")
            self._kept.append(function.__code__)
            self.found[key] = found
        return self.found[key]

    def _text_of(self, function: FunctionType, found: Found) -> tuple[str, set[str]]:
        """The definition without decorators, defaults as they were, and the names it needs at once."""
        node: Any = found.node
        edits, needs = self.edited_defaults(function, node, dict(function.__globals__))
        for text in written(found.text, node, edits, decorated=False):
            if (checked := _standing_alone(text, node, function.__code__.co_freevars)) is None:
                continue
            if compiles_to(checked, found.code or function.__code__, function.__code__.co_flags):
                whole = f"({text})" if isinstance(node, ast.Lambda) and "\n" in text else text
                return whole, needs | self.bind_at_once(checked, function.__globals__, function.__code__.co_flags, set(function.__code__.co_freevars))
        raise NoSource("its text compiles to something else on its own")

    def edited_defaults(self, function: FunctionType, node: Any, scope: Mapping[str, Any]) -> tuple[dict[ast.AST, str], set[str]]:
        edits: dict[ast.AST, str] = {}
        needs: set[str] = set()
        for expression, value in defaults_of(node, function):
            if not same(evaluated(expression, scope), value) or self._is_a_name_of_data(expression, value):
                edits[expression], more = self.frozen(value, f"{function.__name__.strip('<>')}_default")
                needs |= more
        return edits, needs

    @staticmethod
    def _is_a_name_of_data(expression: ast.expr, value: Any) -> bool:
        """A default written as a name of a short value: the value reads better and needs nothing."""
        return not isinstance(expression, ast.Constant) and isinstance(expression, ast.Name) and literal(value) is not None

    def bind_at_once(self, text: str, scope: Mapping[str, Any], flags: int, without: set[str]) -> set[str]:
        """Bind what executing `text` looks up; returns those names."""
        needs: set[str] = set()
        for statement in ast.parse(text).body:
            for name in names.needed_at_once(compiled([statement], flags)):
                if name in scope and name not in without and not self.notebook.is_notebooks_only(name, scope[name]):
                    self.bind(name, scope[name])
                    needs.add(name)
        return needs

    def add_needs(self, function: FunctionType) -> None:
        """Bind what a function looks up when it runs."""
        code, scope = function.__code__, function.__globals__
        self.future_annotations |= bool(code.co_flags & _FUTURE_ANNOTATIONS)
        self.modules |= names.imported(code)
        for name in names.used(code):
            if name in scope and not self.notebook.is_notebooks_only(name, scope[name]):
                self.bind(name, scope[name], by=function.__qualname__)
                if isinstance(scope[name], types.ModuleType):
                    self._add_submodules(name, scope[name], names.attributes(code))
            elif self.notebook.exists_only_here(name):
                self.warn(f"{function.__qualname__} uses {name}, which exists only in a notebook")
        self.note_evaluated_text(function)

    def note_evaluated_text(self, function: FunctionType) -> None:
        code, scope = function.__code__, function.__globals__
        known = frozenset(name for name in scope if not self.notebook.is_notebooks_only(name, scope[name]))
        for name, how in names.only_in_text(code, known).items():
            found = self.found.get(id(code))
            self.in_text.setdefault(name, (function.__qualname__, how, found.place.label if found else None))
        if names.evaluates_text(code):
            self.warn(f"{function.__qualname__} evaluates text made while it runs; names used only there do not travel")

    def add(self, node: Node, found: Found, function: Any = None) -> None:
        node.label, node.number = found.place.label, found.place.number
        if isinstance(function, FunctionType) and node.kind in {"function", "lambda"}:
            for line, more in self.attributes_of(node.name, function) if not _is_cached(node) else ():
                node.text = f"{node.text}\n{line}"
                node.needs |= more
        self.nodes[node.name] = node

    def warn(self, sentence: str) -> None:
        self.warnings[sentence] = None

    def _is_closure(self, value: Any) -> bool:
        return isinstance(value, FunctionType) and value.__closure__ is not None

    def _name_for(self, value: Any, found: Found, plain: str) -> str:
        """`plain` where the notebook means this object by it; else another name of it, or f_in3."""
        if plain and self.notebook.namespace.get(plain) is value:
            return plain
        if not plain and (alias := self._alias_of(value)):
            return alias
        number = found.place.number
        return self.free_name(f"{plain or 'lambda'}{'_in' + str(number) if number else '_held'}")

    def _alias_of(self, value: Any) -> str | None:
        scope = self.notebook.namespace
        return next((name for name, held in scope.items() if held is value and not name.startswith("_")), None)

    def free_name(self, wanted: str) -> str:
        wanted = wanted if wanted.isidentifier() and not keyword.iskeyword(wanted) else f"value_{wanted.strip('<>')}"
        name, count = wanted, 1
        while name in self._bound or name in self.nodes or (count == 1 and name in self.notebook.namespace):
            count += 1
            name = f"{wanted}_{count}"
        return name

    def _warn_redefined(self, value: Any, name: str, found: Found) -> None:
        plain = value.__name__
        current = self.notebook.namespace.get(plain)
        if name == plain or not plain.isidentifier() or not (isinstance(current, type | FunctionType) and self.is_own(current)):
            return
        if any(inner is value for inner in underlying(current)):
            return  # decorated, not redefined
        self.warn(f"{plain} was defined again since; the one the model holds, of {found.place.label}, travels as {name}")

    warn_redefined = _warn_redefined
    name_for = _name_for

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
            line = f"import {dotted}" if name == dotted else f"from {parent} import {last}" if last == name and parent else f"import {dotted} as {name}"
        self.modules.add(dotted)
        self.nodes[name] = Node(name, "import", line)

    def _add_submodules(self, name: str, module: types.ModuleType, used: frozenset[str]) -> None:
        """`import a.b` where a function says `a.b.f`: importing a alone may not bring a.b."""
        for attribute in used & vars(module).keys():
            inner = vars(module)[attribute]
            if isinstance(inner, types.ModuleType) and inner.__name__ == f"{module.__name__}.{attribute}" in sys.modules:
                if hasattr(module, "__path__") and inner.__name__ not in self.modules:
                    self.modules.add(inner.__name__)
                    hidden = "" if name == module.__name__ else f" as _{inner.__name__.replace('.', '_')}"
                    self.nodes[f"import {inner.__name__}"] = Node(inner.__name__, "import", f"import {inner.__name__}{hidden}")
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
        node = Node(name, "data", f'{name} = _data("{name}")', place.label if place else "", place.number if place else None)
        self.nodes[name] = node
        node.needs = self._store(name, value) - {name}

    # -- undo -----------------------------------------------------------------------------------------------------

    def _state(self) -> tuple[Any, ...]:
        return dict(self.nodes), dict(self._named), dict(self._bound), dict(self.warnings)

    def _restore(self, state: tuple[Any, ...]) -> None:
        self.nodes, self._named, self._bound, self.warnings = (dict(part) for part in state)


_CACHED = type(functools.lru_cache(lambda: None))


def _is_cached(node: Node) -> bool:
    return node.text.startswith("@functools.lru_cache") or " = functools.lru_cache(" in node.text


def _standing_alone(text: str, node: ast.AST, free: tuple[str, ...]) -> str | None:
    """`text` as statements that compile to what it compiled to inside other functions; None where it is no statement."""
    text = f"_ = (\n{text}\n)" if isinstance(node, ast.Lambda) else text
    try:
        return made_by("_", free, "_", text) if free else text if ast.parse(text).body else None
    except SyntaxError:
        return None


def made_by(name: str, variables: tuple[str, ...], inner: str, text: str) -> str:
    """A function that defines `inner` with `variables` around it and returns it; its lines keep multi-line strings whole."""
    body = ast.parse(text).body
    maker = ast.parse(f"def {name}({', '.join(variables)}):\n    return {inner}").body[0]
    assert isinstance(maker, ast.FunctionDef)  # noqa: S101 - it was just written
    if not _has_long_strings(body):
        indented = "\n".join("    " + line if line.strip() else line for line in text.splitlines())
        return f"def {name}({', '.join(variables)}):\n{indented}\n\n    return {inner}"
    maker.body[:0] = body
    return ast.unparse(ast.fix_missing_locations(maker))


def _has_long_strings(body: list[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Constant | ast.JoinedStr) and getattr(node, "end_lineno", 0) != node.lineno
        for statement in body
        for node in ast.walk(statement)
    )
