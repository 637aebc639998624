"""A function, lambda or closure of the notebook as source."""

from __future__ import annotations

import ast
import functools
import keyword
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import lookups
from nbdeploy.capture.freeze import compiles_to, defaults_of, evaluated, literal, same, written
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import Found, NoSource, contents, is_closure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FunctionType

    from nbdeploy.capture.define import Definitions


def define_function(definitions: Definitions, function: FunctionType) -> str:
    found = definitions.find(function)
    if is_closure(function):
        raise NoSource("it is a closure")
    is_lambda = isinstance(found.node, ast.Lambda)
    name = definitions.name_for(function, "" if is_lambda else function.__name__)
    definitions.remember(function, name)
    text, needs = _text_of(definitions, function, found)
    if is_lambda:
        text = f"{name} = {text}"
    elif name != function.__code__.co_name:
        text = made_by(f"_make_{name}", (), function.__code__.co_name, text) + f"\n\n{name} = _make_{name}()"
    node = Node(name, "lambda" if is_lambda else "function", text, needs=needs)
    for line, more in attributes_of(definitions, name, function):
        node.text = f"{node.text}\n{line}"
        node.needs |= more
    definitions.add(node, found)
    node.uses |= definitions.add_uses(function)
    definitions.warn_redefined(function, name, found)
    return name


def factory_key(function: FunctionType) -> tuple[int, ...]:
    """Closures with the same code and defaults come from one factory."""
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return id(function.__code__), *map(id, given)


def define_factory(definitions: Definitions, function: FunctionType) -> str:
    """A function that takes the free variables of `function` and makes it. Raises NoSource."""
    code = function.__code__
    found = definitions.find(function)
    _refuse_odd_closures(function)
    base = "lambda" if code.co_name == "<lambda>" else code.co_name
    name = definitions.free_name(f"_make_{base}")
    definitions.factories[factory_key(function)] = name
    text, needs = _text_of(definitions, function, found)
    inner = f"_{base}" if isinstance(found.node, ast.Lambda) else code.co_name
    text = made_by(name, code.co_freevars, inner, f"{inner} = {text}" if isinstance(found.node, ast.Lambda) else text)
    if not compiles_to(text, found.code or code, code.co_flags):
        raise NoSource("its text compiles to something else on its own")
    node = Node(name, "closure", text, needs=needs)
    definitions.add(node, found)
    node.uses |= definitions.add_uses(function)
    return name


def _refuse_odd_closures(function: FunctionType) -> None:
    code = function.__code__
    if "__class__" in code.co_freevars:
        raise NoSource("it is a method that says super()")
    if lookups.changes_closure(code):
        raise NoSource("it changes variables of the function around it")
    if len(contents(function)) != len(code.co_freevars):
        raise NoSource("a variable of the function around it has no value yet")


def define_cached(definitions: Definitions, value: Any) -> str:
    """`functools.lru_cache` around a function."""
    inner = value.__wrapped__
    settings = value.cache_parameters()
    kept = f"functools.lru_cache(maxsize={settings['maxsize']}, typed={settings['typed']})"
    name = definitions.alias_of(value) or definitions.free_name(f"{inner.__name__}_cached")
    definitions.remember(value, name)
    definitions.bind("functools", functools)
    if is_closure(inner):
        expression, needs = _closure_call(definitions, inner)
    else:
        found = definitions.find(inner)
        if found.is_top_level and name == inner.__name__:
            definitions.nodes[name] = kept_decorator(definitions, inner, kept)
            return name
        expression = definitions.reference(inner)
        needs = {expression}
    found = definitions.find(inner)
    definitions.add(Node(name, "function", f"{name} = {kept}({expression})", needs=needs | {"functools"}), found)
    return name


def kept_decorator(definitions: Definitions, inner: FunctionType, decorator: str) -> Node:
    """The definition of `inner` under one decorator of functools."""
    found = definitions.find(inner)
    text, needs = _text_of(definitions, inner, found)
    node = Node(inner.__name__, "function", f"@{decorator}\n{text}", needs=needs | {"functools"})
    definitions.add(node, found)
    node.uses |= definitions.add_uses(inner)
    return node


def bind_closure(definitions: Definitions, name: str, function: FunctionType) -> None:
    """Define `name` as what its decorators make, or as a call of the factory. Raises NoSource."""
    from nbdeploy.capture.decorated import decorated

    with definitions.attempt(function):
        if (node := decorated(definitions, name, function)) is not None:
            definitions.remember(function, name)
            definitions.nodes[name] = node
            return
        expression, needs = _closure_call(definitions, function)
        lines = [f"{name} = {expression}"]
        for line, more in attributes_of(definitions, name, function):
            lines.append(line)
            needs |= more
        definitions.remember(function, name)
        node = Node(name, "value" if len(lines) == 1 else "closure", "\n".join(lines), needs=needs)
        definitions.add(node, definitions.find(function))


def _closure_call(definitions: Definitions, function: FunctionType) -> tuple[str, set[str]]:
    maker = definitions.factory(function)
    needs, given = {maker}, []
    for variable, value in zip(function.__code__.co_freevars, contents(function), strict=True):
        if value is function or definitions.is_open(value):
            raise NoSource("it refers to itself")
        expression, more = definitions.frozen(value, f"{function.__name__.strip('<>')}_{variable}")
        needs |= more
        given.append(f"{variable}={expression}")
    return f"{maker}({', '.join(given)})", needs


def attributes_of(definitions: Definitions, name: str, function: FunctionType) -> list[tuple[str, set[str]]]:
    """Lines that give a function what its definition does not: attributes, and what `functools.wraps` copied."""
    lines = []
    for key, value in vars(function).items():
        if key.isidentifier() and not keyword.iskeyword(key):
            expression, needs = definitions.frozen(value, f"{name}_{key.strip('_')}")
            lines.append((f"{name}.{key} = {expression}", needs))
    if function.__name__ != function.__code__.co_name:
        lines.append((f"{name}.__name__ = {function.__name__!r}", set()))
    return lines


def _text_of(definitions: Definitions, function: FunctionType, found: Found) -> tuple[str, set[str]]:
    """The definition without decorators, defaults as they were, and the names it needs at once."""
    node: Any = found.node
    code, scope = function.__code__, function.__globals__
    is_lambda = isinstance(node, ast.Lambda)
    edits, needs = edited_defaults(definitions, function, node, scope)
    for text in written(found.text, node, edits, decorated=False):
        checked = _standing_alone(text, node, code.co_freevars)
        if checked is not None and compiles_to(checked, found.code or code, code.co_flags):
            free = set(code.co_freevars)
            needs |= definitions.bind_at_once(checked, scope, code.co_flags, free, lambdas=not is_lambda)
            return f"({text})" if is_lambda and "\n" in text else text, needs
    raise NoSource("its text compiles to something else on its own")


def edited_defaults(
    definitions: Definitions, function: FunctionType, node: Any, scope: Mapping[str, Any]
) -> tuple[dict[ast.AST, str], set[str]]:
    edits: dict[ast.AST, str] = {}
    needs: set[str] = set()
    for expression, value in defaults_of(node, function):
        if not same(evaluated(expression, scope), value) or _is_a_name_of_data(expression, value):
            edits[expression], more = definitions.frozen(value, f"{function.__name__.strip('<>')}_default")
            needs |= more
    return edits, needs


def _is_a_name_of_data(expression: ast.expr, value: Any) -> bool:
    """A default written as a name of a short value: the value reads better and needs nothing."""
    return not isinstance(expression, ast.Constant) and isinstance(expression, ast.Name) and literal(value) is not None


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
