"""Which names a code object needs, and when."""

from __future__ import annotations

import dis
import inspect
import re
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_RUN_WHERE_THEY_STAND = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
_QUERY_NAME = re.compile(r"@([A-Za-z_]\w*)")
_TEXT_RUNNERS = frozenset({"eval", "exec"})
_NAMESPACE_READERS = frozenset({"globals", "vars", "locals"})


def nested(code: CodeType) -> Iterator[CodeType]:
    """`code` and every code object inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


@lru_cache(maxsize=4096)
def used(code: CodeType) -> tuple[str, ...]:
    """Global names `code` may look up when it runs, in order of appearance."""
    found: dict[str, None] = {}
    for part in nested(code):
        found.update(dict.fromkeys(_loaded(part)))
        found.update(dict.fromkeys(_in_queries(part)))
    return tuple(found)


def needed_at_once(code: CodeType, *, lambdas: bool = True) -> tuple[str, ...]:
    """Names a definition looks up while it is executed: bases, decorators, defaults, class bodies.

    `lambdas`: those in it may be called at once, as in `sorted(..., key=lambda ...)`; one that is only named is not.
    """
    found: dict[str, None] = dict.fromkeys(_loaded(code))
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if not constant.co_flags & inspect.CO_OPTIMIZED:
            own = set(_stored(constant)) | {"__name__", "__qualname__", "__module__"}
            found.update(dict.fromkeys(name for name in needed_at_once(constant) if name not in own))
        elif constant.co_name in _RUN_WHERE_THEY_STAND and (lambdas or constant.co_name != "<lambda>"):
            found.update(dict.fromkeys(needed_at_once(constant)))
    return tuple(found)


def attributes(code: CodeType) -> frozenset[str]:
    return frozenset(name for part in nested(code) for name in part.co_names)


def imported(code: CodeType) -> frozenset[str]:
    """Modules imported inside a function, `a.b` for `from a import b` too, where b may be a module."""
    found = set()
    for part in nested(code):
        module = None
        for step in dis.get_instructions(part):
            if step.opname == "IMPORT_NAME":
                module = str(step.argval)
                found.add(module)
            elif step.opname == "IMPORT_FROM" and module:
                found.add(f"{module}.{step.argval}")
    return frozenset(found)


def only_in_text(code: CodeType, known: frozenset[str]) -> dict[str, str]:
    """Names of `known` that `code` mentions only in text it evaluates: name -> how."""
    loaded = set(used(code))
    runners, readers = loaded & _TEXT_RUNNERS, loaded & _NAMESPACE_READERS
    found: dict[str, str] = {}
    for part in nested(code) if runners or readers else ():
        for constant in part.co_consts:
            if not isinstance(constant, str) or constant == code.co_name:
                continue
            names = (_names_in(constant) if runners else {constant}) - set(part.co_varnames)
            how = f"{min(runners or readers)}()"
            found.update({name: how for name in names & known if name not in loaded})
    return found


def evaluates_text(code: CodeType) -> bool:
    """Whether `code` runs text of which nothing is known here."""
    if not set(used(code)) & _TEXT_RUNNERS:
        return False
    return not any(
        isinstance(constant, str) and _compiles(constant) for part in nested(code) for constant in part.co_consts
    )


def changes_closure(code: CodeType) -> bool:
    """Whether `code` assigns to a variable of an enclosing function, so that closures may share state."""
    return any(
        step.opname in {"STORE_DEREF", "DELETE_DEREF"} and step.argval in part.co_freevars
        for part in nested(code)
        for step in dis.get_instructions(part)
    )


def _loaded(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in _LOADS:
            yield step.argval


def _stored(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME":
            yield step.argval


def _in_queries(code: CodeType) -> Iterator[str]:
    """`limit` of `frame.query("age > @limit")`: pandas looks it up in the calling frame."""
    if not {"query", "eval"} & set(code.co_names):
        return
    local = set(code.co_varnames) | set(code.co_freevars) | set(code.co_cellvars)
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield from (name for name in _QUERY_NAME.findall(constant) if name not in local)


def _compiles(text: str) -> bool:
    try:
        compile(text, "<text>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _names_in(text: str) -> set[str]:
    try:
        return set(used(compile(text.strip(), "<text>", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return set()
