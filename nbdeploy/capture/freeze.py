"""Values as they were when a definition was executed, and the text that says so."""

from __future__ import annotations

import ast
import copy
import math
import textwrap
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.lookups import nested
from nbdeploy.capture.source import compiled, normal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

    from nbdeploy.capture.notebook import Text
    from nbdeploy.capture.source import Function

LONGEST = 2_000  # characters of a literal in a readable module; longer values are data files
MISSING = object()


def literal(value: Any) -> str | None:
    """Python text that gives an equal value of the same type; None where there is no short one."""
    text = _literal(value, 0)
    return text if text is not None and len(text) <= LONGEST else None


def _literal(value: Any, depth: int) -> str | None:
    kind = type(value)
    if value is None or value is Ellipsis or kind in (bool, int, str, bytes):
        return repr(value) if kind not in (str, bytes, int) or _is_short(value) else None
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if depth > 6 or kind not in (tuple, list, dict, set, frozenset) or len(value) > LONGEST:
        return None
    if kind is dict:
        pairs = [(_literal(key, depth + 1), _literal(item, depth + 1)) for key, item in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    items = [_literal(item, depth + 1) for item in value]
    if None in items:
        return None
    return _sequence(kind, [str(item) for item in items])


def _is_short(value: Any) -> bool:
    return abs(value) < 10**100 if isinstance(value, int) else len(value) <= LONGEST


def _sequence(kind: type, items: list[str]) -> str:
    inside = ", ".join(sorted(items) if kind in (set, frozenset) else items)
    if kind is tuple:
        return f"({inside},)" if len(items) == 1 else f"({inside})"
    if kind is list:
        return f"[{inside}]"
    if not items:
        return f"{kind.__name__}()"
    return f"{{{inside}}}" if kind is set else f"frozenset({{{inside}}})"


def evaluated(expression: ast.expr, scope: Mapping[str, Any]) -> Any:
    """What a literal, a name or a chain of attributes means now; MISSING for anything else. Runs no user code."""
    try:
        return ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    if isinstance(expression, ast.Name):
        import builtins

        return scope.get(expression.id, getattr(builtins, expression.id, MISSING))
    if isinstance(expression, ast.Attribute):
        owner = evaluated(expression.value, scope)
        return vars(owner).get(expression.attr, MISSING) if hasattr(owner, "__dict__") else MISSING
    return MISSING


def same(left: Any, right: Any) -> bool:
    """Identical, or literals of one type that read the same."""
    if left is right:
        return True
    text = literal(left)
    return type(left) is type(right) and text is not None and text == literal(right)


def segment(text: Text, node: ast.AST, edits: Mapping[ast.AST, str], *, decorated: bool = True) -> str:
    """The source of `node` with some expressions replaced, from its first column on."""
    start, end = _start(node, decorated=decorated), _end(node)
    lines = text.encoded
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    source = b"".join(lines)
    first, last = offsets[start[0] - 1] + start[1], offsets[end[0] - 1] + end[1]
    places = sorted(((_start(part), _end(part), new) for part, new in edits.items()), reverse=True)
    for begin, finish, new in places:
        left, right = offsets[begin[0] - 1] + begin[1], offsets[finish[0] - 1] + finish[1]
        source = source[:left] + new.encode() + source[right:]
        last += len(new.encode()) - (right - left)
    return source[first:last].decode()


def written(text: Text, node: ast.AST, edits: Mapping[ast.AST, str], *, decorated: bool = True) -> list[str]:
    """Candidates for the source of `node` on its own, the most faithful first."""
    plain = segment(text, node, edits, decorated=decorated)
    column = _start(node, decorated=decorated)[1]
    candidates = [plain, unparsed(node, edits, decorated=decorated)]
    return [textwrap.dedent(" " * column + plain), *candidates] if column else candidates


def unparsed(node: ast.AST, edits: Mapping[ast.AST, str], *, decorated: bool = True) -> str:
    memo: dict[int, Any] = {id(part): ast.parse(new, mode="eval").body for part, new in edits.items()}
    copied = copy.deepcopy(node, memo)
    if not decorated:
        copied.decorator_list = []  # type: ignore[attr-defined]
    return ast.unparse(copied)


def compiles_to(text: str, wanted: CodeType, flags: int) -> bool:
    """Whether `text`, executed, makes a function with the code `wanted`."""
    try:
        statement = ast.parse(text).body
        return any(normal(code) == normal(wanted) for part in statement for code in nested(compiled([part], flags)))
    except (SyntaxError, ValueError):
        return False


def defaults_of(node: Function | ast.Lambda, function: Any) -> list[tuple[ast.expr, Any]]:
    """Each default expression with the value it had when the definition was executed."""
    positional = list(zip(node.args.defaults, function.__defaults__ or (), strict=False))
    keywords = function.__kwdefaults__ or {}
    named = [
        (expression, keywords[argument.arg])
        for argument, expression in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if expression is not None and argument.arg in keywords
    ]
    return positional + named


def _start(node: Any, *, decorated: bool = True) -> tuple[int, int]:
    if decorated and getattr(node, "decorator_list", None):
        first = node.decorator_list[0]
        return first.lineno, node.col_offset  # the @ stands where the definition does
    return node.lineno, node.col_offset


def _end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset
