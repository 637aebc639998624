"""A class of the notebook as source: its statement, with what was fixed when it was executed."""

from __future__ import annotations

import ast
import enum
from inspect import getmro
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import lookups
from nbdeploy.capture.decorated import layers_of, makes_layers, runs_of_decorators
from nbdeploy.capture.freeze import MISSING, evaluated, literal, same, segment, unparsed
from nbdeploy.capture.functions import edited_defaults, made_by
from nbdeploy.capture.lookups import nested
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import (
    Found,
    NoSource,
    assigned,
    compiled,
    find_class,
    normal,
    outermost,
    own_methods,
    underlying,
)

if TYPE_CHECKING:
    from types import FunctionType

    from nbdeploy.capture.define import Definitions

# Written by metaclasses and decorators; executing the statement writes them again.
_MACHINERY = ("__", "_abc_", "_sklearn_", "_member_", "_value2member", "_unhashable", "_hashable", "_fields", "_field_")


def define_class(definitions: Definitions, cls: type) -> str:
    """The module's name for `cls`. Raises NoSource."""
    if "<locals>" in cls.__qualname__:
        raise NoSource("it was made inside a function")
    if "." in cls.__qualname__:
        return _inner_class(definitions, cls)
    found = find_class(cls, definitions.notebook)
    if found is None:
        return _made_by_call(definitions, cls)
    if found.around:
        raise NoSource("it was made inside a function")
    return _Statement(definitions, cls, found).define()


class _Statement:
    def __init__(self, definitions: Definitions, cls: type, found: Found) -> None:
        assert isinstance(found.node, ast.ClassDef)  # noqa: S101 - find_class looks for nothing else
        self.definitions, self.cls, self.found, self.node = definitions, cls, found, found.node
        self.scope = definitions.notebook.namespace
        self.edits: dict[ast.AST, str] = {}
        self.needs: set[str] = set()
        methods = own_methods(cls)
        self.flags = methods[0].__code__.co_flags if methods else 0

    def define(self) -> str:
        name = self.definitions.name_for(self.cls, self.cls.__name__)
        self.definitions.remember(self.cls, name)
        self._freeze_bases()
        self._freeze_attributes()
        self._freeze_defaults()
        text = self._text(name)
        later = self._assigned_later(name)
        body = "\n".join([text, *later])
        node = Node(name, "class", body, needs=self.needs)
        self.definitions.add(node, self.found)
        self.definitions.warn_redefined(self.cls, name, self.found)
        for method in self._methods():
            node.uses |= self.definitions.add_uses(method)
        node.runs |= self._runs()
        return name

    def _runs(self) -> set[str]:
        """What hooks of the notebook look up while the statement is executed."""
        hooks = [vars(kind).get("__init_subclass__") for kind in self.cls.__mro__[1:]]
        hooks += [
            vars(kind).get(name) for kind in getmro(type(self.cls)) for name in ("__prepare__", "__new__", "__init__")
        ]
        hooks += [vars(kind).get("__set_name__") for value in vars(self.cls).values() for kind in type(value).__mro__]
        found = runs_of_decorators(self.definitions, self.node)
        return found.union(*(lookups.used(each.__code__) for hook in hooks for each in self._own(hook)))

    def _methods(self) -> list[FunctionType]:
        return [function for value in _with_inner_classes(self.cls) for function in self._own(value)]

    def _own(self, value: Any) -> list[FunctionType]:
        """The notebook's functions inside an attribute, without wrappers a library put around them."""
        return [each for each in underlying(value) if self.definitions.notebook.is_own(each.__globals__)]

    def _text(self, name: str) -> str:
        """The statement, checked against the live methods."""
        for plain in (segment(self.found.text, self.node, self.edits), unparsed(self.node, self.edits)):
            text = plain if name == self.cls.__name__ else self._renamed(name, plain)
            if self._is_faithful(text):
                needs = self.definitions.bind_at_once(
                    text, self.scope, self.flags, {self.cls.__name__, f"_make_{name}", name}
                )
                if name != self.cls.__name__:
                    needs |= self.definitions.bind_at_once(
                        segment(self.found.text, self.node, self.edits), self.scope, self.flags, set()
                    )
                self.needs |= needs
                return text
        raise NoSource("its text compiles to something else on its own")

    def _renamed(self, name: str, text: str) -> str:
        """The class under another name: its own name must stay what its methods and users see."""
        return made_by(f"_make_{name}", (), self.cls.__name__, text) + f"\n\n{name} = _make_{name}()"

    def _is_faithful(self, text: str) -> bool:
        try:
            made = {normal(code) for part in ast.parse(text).body for code in nested(compiled([part], self.flags))}
        except SyntaxError:
            return False
        return all(self._alone(method) in made for method in own_methods(self.cls))

    def _alone(self, method: FunctionType) -> tuple[Any, ...]:
        """What the method's source compiles to without the text around its class."""
        found = self.definitions.find(method)
        return normal(found.code or method.__code__)

    def _freeze_bases(self) -> None:
        """A base that was defined again since is not what its name means now."""
        given = [base for base in self.node.bases if not isinstance(base, ast.Starred)]
        live = self.cls.__dict__.get("__orig_bases__", self.cls.__bases__)
        for expression, base in zip(given, live, strict=False):
            if (
                isinstance(base, type)
                and evaluated(expression, self.scope) is not base
                and not isinstance(expression, ast.Call)
            ):
                self._replace(expression, base, f"{self.cls.__name__}_base")

    def _freeze_attributes(self) -> None:
        for name, expression in assigned(self.node):
            value = self._attribute(name)
            if value is MISSING or hasattr(type(value), "__get__"):
                continue
            meant = evaluated(expression, self.scope)
            if same(meant, value) and not (isinstance(expression, ast.Name) and literal(value) is not None):
                continue
            if isinstance(expression, ast.Call) and self._is_declaration(value):
                continue
            self._replace(expression, value, f"{self.cls.__name__}_{name}")

    def _attribute(self, name: str) -> Any:
        value = vars(self.cls).get(name, MISSING)
        if isinstance(self.cls, enum.EnumMeta):
            member: Any = self.cls.__members__.get(name)
            return MISSING if member is None else member.value
        return value

    def _is_declaration(self, value: Any) -> bool:
        """`field(default=3)` of a dataclass and `auto()` of an enum say more than the value they leave."""
        return (
            hasattr(self.cls, "__dataclass_fields__")
            or isinstance(self.cls, enum.EnumMeta)
            or hasattr(type(value), "__set_name__")
        )

    def _freeze_defaults(self) -> None:
        live = {function.__code__.co_firstlineno: function for function in own_methods(self.cls)}
        for inner in ast.walk(self.node):
            if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = min([decorator.lineno for decorator in inner.decorator_list] + [inner.lineno])
            function = live.get(first)
            if function is not None and function.__name__ == inner.name:
                edits, needs = edited_defaults(self.definitions, function, inner, function.__globals__)
                self.edits.update(edits)
                self.needs |= needs

    def _assigned_later(self, name: str) -> list[str]:
        """Attributes the statement does not give: set or patched after it was executed."""
        written = {inner for inner, _ in assigned(self.node)} | _stored_in(self.node)
        written |= {f"_{self.cls.__name__.lstrip('_')}{inner}" for inner in written if inner.startswith("__")}
        texts = {normal(code) for code in nested(compiled([self.node], self.flags))}
        lines = []
        for key, value in vars(self.cls).items():
            if key.startswith(_MACHINERY):
                continue
            if any(True for _ in underlying(value)):
                if key in written and all(self._is_written(key, function, texts) for function in outermost(value)):
                    continue
                if not self._own(value):
                    continue  # made by a decorator or metaclass of a library
            elif isinstance(value, type) or self._is_as_written(value, given=key in written):
                continue
            expression, needs = self.definitions.frozen(value, f"{self.cls.__name__}_{key.strip('_')}")
            self.needs |= needs
            lines.append(f"{name}.{key} = {expression}")
        return ["", *lines] if lines else []

    def _is_as_written(self, value: Any, *, given: bool) -> bool:
        """Whether executing the statement gives this value: by an expression that was checked, or as descriptors come.

        A descriptor whose own `__set_name__` looks up variables may keep what they held then.
        """
        if not given:
            return hasattr(type(value), "__get__")
        hook = getattr(type(value), "__set_name__", None)
        return not any(name in self.scope for each in self._own(hook) for name in lookups.used(each.__code__))

    def _is_written(self, key: str, function: FunctionType, texts: set[Any]) -> bool:
        """Whether executing the statement gives this function: by its own text, or by decorators that are as they were."""
        if not self.definitions.notebook.is_own(function.__globals__):
            return any(self._alone(inner) in texts for inner in self._own(function))
        if self._alone(function) in texts:
            return True
        layers = layers_of(function)
        if self._alone(layers[-1]) not in texts:
            return False
        return any(
            makes_layers(inner.decorator_list, layers, self.scope)
            for inner in self.node.body
            if isinstance(inner, ast.FunctionDef) and inner.name == key
        )

    def _replace(self, expression: ast.expr, value: Any, hint: str) -> None:
        self.edits[expression], needs = self.definitions.frozen(value, hint)
        self.needs |= needs


def _with_inner_classes(cls: type) -> list[Any]:
    found: list[Any] = []
    for value in vars(cls).values():
        if isinstance(value, type) and value.__qualname__.startswith(f"{cls.__qualname__}."):
            found.extend(_with_inner_classes(value))
        else:
            found.append(value)
    return found


def _stored_in(node: ast.ClassDef) -> set[str]:
    from nbdeploy.capture.source import bound_by

    return {name for inner in node.body for name in bound_by(inner)}


def _inner_class(definitions: Definitions, cls: type) -> str:
    outer, _, name = cls.__qualname__.rpartition(".")
    owner = definitions.notebook.namespace.get(outer.partition(".")[0])
    for part in outer.split(".")[1:]:
        owner = getattr(owner, part, None)
    if not isinstance(owner, type) or vars(owner).get(name) is not cls:
        raise NoSource(f"{outer}, the class around it, was defined again since")
    found = f"{definitions.reference(owner)}.{name}"
    definitions.remember(cls, found)
    return found


def _made_by_call(definitions: Definitions, cls: type) -> str:
    """`namedtuple(...)` and `Enum(...)`, written from what they made."""
    if issubclass(cls, tuple) and cls.__bases__ == (tuple,) and "_fields" in vars(cls):
        module, maker = "collections", "namedtuple"
        given = [repr(list(vars(cls)["_fields"]))]
        if vars(cls)["_field_defaults"]:
            given.append(f"defaults={_short(tuple(vars(cls)['_field_defaults'].values()))}")
    elif isinstance(cls, enum.EnumMeta) and len(cls.__bases__) == 1 and cls.__bases__[0].__module__ == "enum":
        module, maker = "enum", cls.__bases__[0].__name__
        members: dict[str, Any] = dict(cls.__members__)
        given = [_short({name: member.value for name, member in members.items()})]
    else:
        raise NoSource("no cell has source that defines it")
    text = f"{maker}({cls.__name__!r}, {', '.join(given)})"
    return _add_call(definitions, cls, module, maker, text)


def _short(value: Any) -> str:
    text = literal(value)
    if text is None:
        raise NoSource("a value of it has no short form in source")
    return text


def _add_call(definitions: Definitions, cls: type, module: str, maker: str, text: str) -> str:
    from importlib import import_module

    from nbdeploy.capture.source import find_assignment

    name = cls.__name__
    if definitions.notebook.namespace.get(name) is not cls:
        name = definitions.free_name(f"{name}_held")
    definitions.remember(cls, name)
    expression, needs = definitions.frozen(vars(import_module(module))[maker], maker)
    place = find_assignment(cls.__name__, definitions.notebook)
    text = text.replace(maker, expression, 1)
    node = Node(name, "class", f"{name} = {text}", place.label if place else "", place.number if place else None, needs)
    definitions.nodes[name] = node
    return name
