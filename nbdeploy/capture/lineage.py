"""The cells that made a model, found backwards from its name, and the seeds they set.

Static, so an estimate on the generous side: a cell counts when it binds, changes or is handed a name that is needed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LOOKERS = {
    "print",
    "display",
    "len",
    "type",
    "repr",
    "str",
    "dir",
    "help",
    "id",
    "isinstance",
    "deploy",
    "bundle",
    "serve",
    "check",
}
_SEEDERS = {"seed", "manual_seed", "manual_seed_all", "set_seed", "default_rng", "RandomState", "seed_everything"}
_SEED_WORDS = {"random_state", "seed"}


@dataclass(frozen=True)
class Executed:
    """One executed cell: the 3 of In[3], as typed, and as Python."""

    count: int
    source: str
    python: str


def cells_behind(names: Iterable[str], cells: Sequence[Executed]) -> list[Executed]:
    """Those that led to what the names hold now, in the order of execution."""
    trees = [(cell, tree) for cell in cells if (tree := _tree(cell.python)) is not None]
    modules = {name for _, tree in trees for name in _imported(tree)}
    found: dict[int, Executed] = {}
    asked: set[str] = set()
    waiting = set(names)
    while waiting:
        asked |= waiting
        late: set[str] = set()
        for cell, tree in _backwards(waiting, trees, modules):
            found[cell.count] = cell
            late |= _loaded_late(tree)
        waiting = late - asked  # what a function uses is looked up when it runs, so it may be bound below it
    return [found[count] for count in sorted(found)]


def _backwards(
    names: set[str], trees: Sequence[tuple[Executed, ast.Module]], modules: set[str]
) -> Iterator[tuple[Executed, ast.Module]]:
    wanted = set(names)
    for cell, tree in reversed(trees):
        bound = _bound(tree)
        if wanted & (bound | (_changed(tree) - modules)):
            yield cell, tree
            wanted = (wanted - bound) | _loaded(tree)


def seeds_in(cells: Iterable[Executed]) -> list[dict[str, object]]:
    """Calls that fix randomness: {"count", "call"}."""
    return [
        {"count": cell.count, "call": ast.unparse(call)[:120]}
        for cell in cells
        for call in _calls(_tree(cell.python))
        if _last(call.func) in _SEEDERS or any(item.arg in _SEED_WORDS for item in call.keywords)
    ]


def _tree(python: str) -> ast.Module | None:
    try:
        return ast.parse(python)
    except (SyntaxError, ValueError):
        return None


def _calls(tree: ast.Module | None) -> Iterator[ast.Call]:
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call):
            yield node


def _bound(tree: ast.Module) -> set[str]:
    """Names the cell itself binds: not those of functions inside it."""
    found: set[str] = set()
    for node in _outside_functions(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found | _imported(tree)


def _imported(tree: ast.Module) -> set[str]:
    imports = (node for node in _outside_functions(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))
    return {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}


def _loaded_late(tree: ast.Module) -> set[str]:
    bodies = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))
    return {name for body in bodies for name in _loaded(body)}


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _outside_functions(child)


def _changed(tree: ast.Module) -> set[str]:
    """Names whose object the cell may change: clf.fit(X), df["a"] = 1, train(clf)."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found |= _root(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found |= _root(node.func)
        if isinstance(node, ast.Call) and _last(node.func) not in _LOOKERS:
            found |= {item.id for item in node.args if isinstance(item, ast.Name)}
    return found


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _loaded(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
