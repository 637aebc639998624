"""A function whose decorators can stay as written: what they made is what they would make again."""

from __future__ import annotations

import abc
import ast
import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.freeze import MISSING, evaluated, same, segment
from nbdeploy.capture.functions import edited_defaults
from nbdeploy.capture.lookups import nested, used
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import contents, normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.capture.define import Definitions
    from nbdeploy.capture.source import Found


def decorated(definitions: Definitions, name: str, wrapper: FunctionType) -> Node | None:
    """The definition of `name` with its decorators, or None where they would give something else now.

    Raises NoSource.
    """
    layers = layers_of(wrapper)
    innermost = layers[-1]
    if len(layers) < 2 or innermost.__code__.co_name != name or innermost.__closure__:
        return None
    found = definitions.find(innermost)
    decorators = getattr(found.node, "decorator_list", [])
    if not found.is_top_level or len(decorators) != len(layers) - 1:
        return None
    scope = innermost.__globals__
    if not makes_layers(decorators, layers, scope):
        return None
    return _node(definitions, name, innermost, found)


def _node(definitions: Definitions, name: str, innermost: FunctionType, found: Found) -> Node:
    node: Any = found.node
    edits, needs = edited_defaults(definitions, innermost, node, innermost.__globals__)
    text = segment(found.text, node, edits)
    needs |= definitions.bind_at_once(text, innermost.__globals__, innermost.__code__.co_flags, {name})
    uses = definitions.add_uses(innermost)
    return Node(
        name,
        "function",
        text,
        found.place.label,
        found.place.number,
        needs,
        uses,
        runs=runs_of_decorators(definitions, node),
    )


def runs_of_decorators(definitions: Definitions, node: Any) -> set[str]:
    """What the notebook's functions among the decorators look up."""
    scope = definitions.notebook.namespace
    called = [evaluated(getattr(each, "func", each), scope) for each in node.decorator_list]
    return {
        name
        for each in called
        if isinstance(each, FunctionType) and definitions.is_own(each)
        for name in used(each.__code__)
    }


def layers_of(wrapper: FunctionType) -> list[FunctionType]:
    """The wrapper, what it wraps, what that wraps."""
    layers = [wrapper]
    while len(layers) < 8:
        inner = [content for content in contents(layers[-1]) if isinstance(content, FunctionType)]
        marked = layers[-1].__dict__.get("__wrapped__")
        following = marked if isinstance(marked, FunctionType) else inner[0] if len(inner) == 1 else None
        if following is None or following in layers:
            return layers
        layers.append(following)
    return layers


def makes_layers(decorators: Sequence[ast.expr], layers: Sequence[FunctionType], scope: dict[str, Any]) -> bool:
    """Whether the decorators as they are now make each layer of the one inside it.

    `property`, `staticmethod` and the like leave no layer; they are skipped.
    """
    making = [each for each in decorators if evaluated(each, scope) not in _LEAVE_NO_LAYER and not _is_accessor(each)]
    if len(making) != len(layers) - 1:
        return False
    return all(_makes(*each, scope) for each in zip(making, layers, layers[1:], strict=False))


def _is_accessor(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Attribute) and expression.attr in {"setter", "getter", "deleter"}


def _makes(expression: ast.expr, outer: FunctionType, inner: FunctionType, scope: dict[str, Any]) -> bool:
    call = expression if isinstance(expression, ast.Call) else None
    decorator = evaluated(call.func if call else expression, scope)
    if not isinstance(decorator, FunctionType):
        return False
    if not any(normal(code) == normal(outer.__code__) for code in nested(decorator.__code__)):
        return False
    given = _arguments(decorator, call, scope)
    held = zip(outer.__code__.co_freevars, contents(outer), strict=False)
    return all(value is inner or same(given.get(name, MISSING), value) for name, value in held)


_LEAVE_NO_LAYER = (property, staticmethod, classmethod, functools.cached_property, abc.abstractmethod)


def _arguments(decorator: FunctionType, call: ast.Call | None, scope: dict[str, Any]) -> dict[str, Any]:
    """What each parameter of the decorator would be given."""
    code = decorator.__code__
    positional = code.co_varnames[: code.co_argcount]
    given = dict(zip(reversed(positional), reversed(decorator.__defaults__ or ()), strict=False))
    given |= decorator.__kwdefaults__ or {}
    if call is not None:
        given |= {name: evaluated(part, scope) for name, part in zip(positional, call.args, strict=False)}
        given |= {part.arg: evaluated(part.value, scope) for part in call.keywords if part.arg}
    return given
