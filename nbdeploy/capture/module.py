"""`notebook_code.py`: the captured definitions as one module that reads well."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NAME = "notebook_code"
DATA_FOLDER = "notebook_data"
HEADING = '''"""What the model needs of its notebook, each definition as it was executed.

Written by nbdeploy from the running kernel. The pickled model refers to this module.
"""
'''
LOADER = f'''
def _notebook_data(name):
    """A value of the notebook that has no short form in source."""
    import pickle
    from pathlib import Path

    with (Path(__file__).parent / "{DATA_FOLDER}" / f"{{name}}.pkl").open("rb") as file:
        return pickle.load(file)
'''


@dataclass
class Node:
    """One definition: its `text` gives the module `name`.

    `needs` are names it uses while it is executed, `uses` those it looks up when it is called; `runs` are looked up by
    the notebook's code that is called while it is executed: hooks of its base classes and metaclass, decorators.
    """

    name: str
    kind: str  # function | class | lambda | closure | value | data | import
    text: str
    label: str = ""  # "In[3]"
    number: int | None = None
    needs: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    by: str = "source"


class Cycle(ValueError):
    """Definitions that need each other while they are executed; `names` says which."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(", ".join(sorted(names)))


def render(nodes: Mapping[str, Node], *, future_annotations: bool) -> str:
    """The module. Raises Cycle."""
    placed = ordered(nodes)
    imports = sorted(
        {line for node in placed if node.kind == "import" for line in node.text.splitlines()}, key=_import_order
    )
    has_data = any(node.kind == "data" for node in placed)
    parts = [HEADING]
    if future_annotations:
        parts.append("from __future__ import annotations\n")
    if imports:
        parts.append("\n".join(imports) + "\n")
    if has_data:
        parts.append(LOADER)
    parts.extend(_sections(node for node in placed if node.kind != "import"))
    return "\n".join(parts)


def ordered(nodes: Mapping[str, Node]) -> list[Node]:
    """By cell, but each after what it needs; data as late as possible, as loading it may need any definition.

    What a definition needs may be called while it is executed, so all that this looks up comes before it where it can;
    what is certainly called must. Raises Cycle.
    """
    waiting = sorted(nodes.values(), key=lambda node: (node.kind == "data", node.number or 0))
    may = {node.name: _reached(node.needs | node.runs, nodes) - {node.name} for node in waiting}
    must = {node.name: (node.needs | _reached(node.runs, nodes)) - {node.name} for node in waiting}
    placed: dict[str, Node] = {}
    while waiting:
        ready = _first(waiting, may, nodes, placed) or _first(waiting, must, nodes, placed)
        if ready is None:
            raise Cycle(_circle(waiting, must))
        waiting.remove(ready)
        placed[ready.name] = ready
    return list(placed.values())


def _first(
    waiting: Iterable[Node], before: Mapping[str, set[str]], nodes: Mapping[str, Node], placed: Mapping[str, Node]
) -> Node | None:
    def is_there(name: str) -> bool:
        return name in placed or name not in nodes or nodes[name].kind == "import"

    return next((node for node in waiting if all(map(is_there, before[node.name]))), None)


def _reached(names: Iterable[str], nodes: Mapping[str, Node]) -> set[str]:
    """These, what they need, what they look up when they are called, and so on."""
    found = set(names)
    queue = list(found)
    for name in queue:
        more = nodes[name].needs | nodes[name].uses if name in nodes else set()
        queue.extend(more - found)
        found |= more
    return found


def _circle(waiting: Sequence[Node], before: Mapping[str, set[str]]) -> list[str]:
    """The names of `waiting` that wait for each other, without those that wait for them."""
    left = {node.name for node in waiting}
    while idle := {name for name in left if not any(name in before[other] for other in left - {name})}:
        left -= idle
    return sorted(left)


def _sections(nodes: Iterable[Node]) -> Iterator[str]:
    """A blank line where another cell begins. The cells' numbers stand in the manifest: run again, they change."""
    last: str | None = None
    values = False
    for node in nodes:
        one_line = node.kind in {"value", "data"}
        if node.label != last:
            yield "" if node.label else "\n# fixed when a definition below was executed"
        elif not (one_line and values):
            yield ""
        yield node.text.rstrip("\n") + ("" if one_line else "\n")
        last, values = node.label, one_line


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from "), re.sub(r"^(from|import) ", "", line)
