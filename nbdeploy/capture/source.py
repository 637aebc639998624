"""The source of a live function or class, found by its bytecode.

Names lie: a cell may have been run again with other text, and `inspect.getsource` reads the newest. A definition is the
source of a live object only if it compiles to the object's own code.
"""

from __future__ import annotations
import __future__

import ast
import dis
import functools
import inspect
from dataclasses import dataclass
from types import CodeType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from nbdeploy.capture.lookups import nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbdeploy.capture.notebook import Notebook, Place, Text

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
_NESTED = 0x10  # CO_NESTED: where the definition stood, not what it does
_SETTING_UP = frozenset({"RESUME", "MAKE_CELL", "COPY_FREE_VARS", "RETURN_GENERATOR", "POP_TOP", "NOP"})


class NoSource(Exception):
    """This object cannot be written as source; `str` says why."""


@dataclass(frozen=True)
class Found:
    """`node` is the definition, `statement` the top-level statement around it, `around` the nodes between.

    `code` is what the statement compiles to on its own. It may differ from the live code in how, not in what: CPython
    calls methods of a name otherwise where it sees an import of that name in the same text.
    """

    text: Text
    place: Place
    statement: ast.stmt
    node: ast.AST
    around: tuple[ast.AST, ...] = ()
    code: CodeType | None = None

    @property
    def is_top_level(self) -> bool:
        return self.node is self.statement


def normal(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, without where it was written."""
    return (
        code.co_name,
        code.co_code,
        tuple(_constant(value) for value in code.co_consts),
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags & ~(_NESTED | _FUTURES),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_exceptiontable,
    )


def compiled(body: Sequence[ast.stmt], flags: int = 0) -> CodeType:
    """Statements compiled together, with the `from __future__` flags of `flags`."""
    wanted = (flags & _FUTURES) | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(ast.Module(list(body), []), "<cell>", "exec", flags=wanted, dont_inherit=True)
    return code


def find_function(code: CodeType, notebook: Notebook) -> Found | None:
    """The definition that compiles to `code`: at its own place first, then the newest cell with such a one."""
    word = "lambda" if code.co_name == "<lambda>" else code.co_name
    for text, place in notebook.texts(code.co_filename, word):
        found = _find_in(text, place, code)
        if found is not None:
            return found
    return None


def _find_in(text: Text, place: Place, code: CodeType) -> Found | None:
    """IPython compiles each statement on its own; scripts, modules and `%%time` are compiled as a whole."""
    wanted, span = normal(code), _span(code)
    alone = [(each, node, statement) for statement in text.statements for each, node in _definitions([statement], code)]
    if not alone:
        return None
    whole = _definitions(text.statements, code)
    for candidates in ([(each, node) for each, node, _ in alone], whole):
        equal = [(each, node) for each, node in candidates if normal(each) == wanted]
        for each, node in sorted(equal, key=lambda pair: _span(pair[0]) != span):
            own, statement = next((each, around) for each, inner, around in alone if inner is node)
            return Found(text, place, statement, node, _path_to(statement, node), own)
    return None


def find_class(cls: type, notebook: Notebook) -> Found | None:
    """The `class` statement of `cls`: around one of its methods, else by name and literal attributes."""
    methods = own_methods(cls)
    for function in methods:
        found = find_function(function.__code__, notebook)
        if found is None:
            continue
        for depth, node in enumerate(found.around):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                return Found(found.text, found.place, found.statement, node, found.around[:depth])
    return None if methods else _find_by_attributes(cls, notebook)


def find_assignment(name: str, notebook: Notebook) -> Place | None:
    """The last cell, or the script, that gave `name` a value at its top level."""
    for text, place in notebook.texts(main_file(notebook) if notebook.shell is None else "", name):
        if any(name in bound_by(node) for node in text.statements):
            return place
    return None


def bound_by(statement: ast.stmt) -> set[str]:
    """Names a statement gives a value at module level."""
    found: set[str] = set()
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        if isinstance(node, Function | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        stack.extend(ast.iter_child_nodes(node))
    return found


def own_methods(cls: type) -> list[FunctionType]:
    """Functions written in the body of `cls`, decorators and descriptors taken off."""
    found = []
    for value in vars(cls).values():
        for function in underlying(value):
            name = function.__code__.co_qualname
            if name.startswith(f"{cls.__qualname__}.") and not function.__code__.co_filename.startswith("<string"):
                found.append(function)
    return found


def underlying(value: Any, depth: int = 0) -> Iterator[FunctionType]:
    """The functions inside a method, property, wrapper or closure."""
    if depth > 8:
        return
    if isinstance(value, FunctionType):
        yield value
    for inner in _inside(value):
        yield from underlying(inner, depth + 1)


def outermost(value: Any) -> list[FunctionType]:
    """The functions a class attribute calls: itself, or those inside the descriptor."""
    return (
        [value]
        if isinstance(value, FunctionType)
        else [each for each in _inside(value) if isinstance(each, FunctionType)]
    )


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, type):
        return
    if isinstance(value, FunctionType):
        yield from (content for content in contents(value) if isinstance(content, FunctionType))
        yield from (value.__dict__[name] for name in ("__wrapped__",) if name in value.__dict__)
        return
    for name in ("__func__", "fget", "fset", "fdel", "func", "__wrapped__"):
        inner = inspect.getattr_static(value, name, None)
        if isinstance(inner, MemberDescriptorType):  # a slot of staticmethod, property and their like
            inner = getattr(value, name)
        if isinstance(inner, FunctionType):
            yield inner


def is_closure(value: Any) -> bool:
    return isinstance(value, FunctionType) and value.__closure__ is not None and value.__code__ is not _DISPATCH


def is_dispatch(value: Any) -> bool:
    """Whether `functools.singledispatch` made it."""
    return isinstance(value, FunctionType) and value.__code__ is _DISPATCH


# Such a function is made of what is registered, not of its variables.
_DISPATCH = cast("FunctionType", functools.singledispatch(len)).__code__


def contents(function: FunctionType) -> list[Any]:
    """What the free variables of a closure hold; one not filled yet is left out."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


def _definitions(statements: Sequence[ast.stmt], like: CodeType) -> list[tuple[CodeType, ast.AST]]:
    """Pairs of a code object and its node, for the definitions named as `like`, compiled together."""
    nodes = [node for statement in statements for node in ast.walk(statement) if _name(node) == like.co_name]
    if not nodes:
        return []
    try:
        codes = [code for code in nested(compiled(statements, like.co_flags)) if code.co_name == like.co_name]
    except (SyntaxError, ValueError):
        return []
    return [(code, node) for code in codes if (node := _node_of(code, nodes)) is not None]


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Lambda):
        return "<lambda>"
    return node.name if isinstance(node, Function) else None


def _node_of(code: CodeType, nodes: Sequence[ast.AST]) -> ast.AST | None:
    if code.co_name != "<lambda>":
        return next((node for node in nodes if _first_line(node) == code.co_firstlineno), None)
    lambdas = [node for node in nodes if isinstance(node, ast.Lambda)]
    span = _span(code)
    if span is None:
        return next((node for node in lambdas if _compiles_alone(node, code)), None)
    return min((node for node in lambdas if _contains(node.body, span)), key=_width, default=None)


def _compiles_alone(node: ast.Lambda, code: CodeType) -> bool:
    """Where there are no columns, as in Python 3.12 for a lambda that returns a constant: two that pass say the same."""
    return node.lineno == code.co_firstlineno and any(
        normal(made) == normal(code)
        for made in nested(compiled([ast.copy_location(ast.Expr(node), node)], code.co_flags))
    )


def _first_line(node: ast.AST) -> int:
    assert isinstance(node, Function)  # noqa: S101 - lambdas are told apart by columns
    return min([decorator.lineno for decorator in node.decorator_list] + [node.lineno])


def _span(code: CodeType) -> tuple[int, int, int, int] | None:
    """First and last position of the instructions; None where Python was told to keep no columns."""
    steps = list(dis.get_instructions(code))
    places = [
        (place.lineno, place.col_offset, place.end_lineno, place.end_col_offset)
        for step in steps
        if step.opname not in _SETTING_UP and (place := step.positions) and place.end_col_offset
    ]
    if not places or any(None in place for place in places):
        return None
    starts, ends = [place[:2] for place in places], [place[2:] for place in places]
    return (*min(starts), *max(ends))  # type: ignore[return-value]


def _contains(body: ast.expr, span: tuple[int, int, int, int]) -> bool:
    end = (body.end_lineno or body.lineno, body.end_col_offset or 0)
    return (body.lineno, body.col_offset) <= span[:2] and span[2:] <= end


def _width(node: ast.AST) -> tuple[int, int]:
    assert isinstance(node, ast.Lambda)  # noqa: S101 - only lambdas are compared by width
    lines = (node.end_lineno or node.lineno) - node.lineno
    return lines, (node.end_col_offset or 0) - node.col_offset


def _path_to(statement: ast.stmt, wanted: ast.AST) -> tuple[ast.AST, ...]:
    """The definitions around `wanted`, from the outside."""
    if statement is wanted:
        return ()
    stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(statement, ())]
    while stack:
        node, path = stack.pop()
        if node is wanted:
            return path
        around = (*path, node) if isinstance(node, Function | ast.ClassDef | ast.Lambda) else path
        stack.extend((child, around) for child in ast.iter_child_nodes(node))
    return ()


def _find_by_attributes(cls: type, notebook: Notebook) -> Found | None:
    candidates = [
        Found(text, place, statement, statement)
        for text, place in notebook.texts(main_file(notebook), f"class {cls.__name__}")
        for statement in text.statements
        if isinstance(statement, ast.ClassDef) and statement.name == cls.__name__
    ]
    for found in candidates:
        if _agrees(found.statement, cls):
            return found
    # One text alone has the name: its attributes were changed since, and are frozen as they are.
    return candidates[0] if len({found.text.source for found in candidates}) == 1 else None


def main_file(notebook: Notebook) -> str:
    return str(notebook.namespace.get("__file__") or "")


def _agrees(node: ast.stmt, cls: type) -> bool:
    """No method in the text, and every literal attribute as in the class."""
    if not isinstance(node, ast.ClassDef) or any(isinstance(inner, Function) for inner in node.body):
        return False
    annotated = {
        inner.target.id
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
    }
    if annotated != set(inspect.get_annotations(cls)):
        return False
    return all(_same_value(cls, name, value) for name, value in literals(node))


def literals(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    for name, value in assigned(node):
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue


def assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Names a class body gives a value to, with the expression."""
    for inner in node.body:
        if isinstance(inner, ast.Assign) and len(inner.targets) == 1 and isinstance(inner.targets[0], ast.Name):
            yield inner.targets[0].id, inner.value
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and inner.value is not None:
            yield inner.target.id, inner.value


def _same_value(cls: type, name: str, value: Any) -> bool:
    import enum

    if name.startswith("__") or name not in vars(cls):
        return True
    live = vars(cls)[name]
    if isinstance(cls, enum.EnumMeta):
        live = getattr(live, "value", live)
    return (type(live) is type(value) and repr(live) == repr(value)) or hasattr(live, "__get__")


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return normal(value)
    if isinstance(value, tuple):
        return ("tuple", *(_constant(item) for item in value))
    if isinstance(value, frozenset):
        return ("frozenset", frozenset(_constant(item) for item in value))
    return type(value).__name__, repr(value)
