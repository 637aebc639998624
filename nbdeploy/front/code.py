"""A call as it is written: the magic's line, and the same in Python.

`%deploy` reads the line as the call it was made from; the Python line asks the same of the workspace.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import WrongUse
from nbdeploy.front import expressions
from nbdeploy.front.grammar import VERBS
from nbdeploy.front.line import read
from nbdeploy.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nbdeploy.front.call import Call
    from nbdeploy.front.grammar import Parameter

# What the verbs are called in Python, where it is not their own word.
PYTHON = {
    "up": "deploy",
    "ps": "services",
    "import": "import_bundle",
    "token": "token_file",
}
# What means something at the end of a word: to the reader of the line, to IPython as "?" and "\\" do at the line's end.
_MEANT = (",", ";", "?", "\\")
PACKAGE = sys.modules[__name__.partition(".")[0]]  # what it has not is asked of a Workspace


@dataclass(frozen=True, slots=True)
class Code:
    """`magic` is "" for what only Python can say."""

    magic: str
    python: str

    @property
    def line(self) -> str:
        return self.magic or self.python


def code(call: Call, namespace: Mapping[str, Any]) -> Code:
    """Of a call as it was parsed: its values are words still."""
    return Code(magic(call), python(call, namespace))


def magic(call: Call) -> str:
    """Nothing where a text of several lines was given: a magic ends with its line."""
    verb = VERBS[call.verb]
    words = [] if call.verb == "up" and str(call.values["model"]) not in VERBS else [call.verb]
    for item in (*verb.words, *verb.options):
        if item.name in call.values:
            words += _words(item, call.values[item.name])
    line = " ".join(["%deploy", *map(_quoted, words)])
    return line if len(line.splitlines()) == 1 else ""


def python(call: Call, namespace: Mapping[str, Any]) -> str:
    verb, name = VERBS[call.verb], PYTHON.get(call.verb, call.verb.replace("-", "_"))
    given = [item for item in verb.parameters if item.name in call.values]
    first = [text for item in given if not item.flags for text in _positional(item, call, namespace)]
    named = [f"{item.name}={_value(item, call.values[item.name], namespace)}" for item in given if item.flags]
    owner = "nbdeploy" if name in PACKAGE.__all__ else "nbdeploy.Workspace()"
    line = f"{owner}.{name}({', '.join([*first, *named])})"
    return f"list({line})" if call.verb == "logs" else line


def _words(item: Parameter, value: Any) -> Iterator[str]:
    """Of one parameter, as they are typed."""
    if item.kind == "words":
        yield from str(value).split()
        return
    if not item.takes_value:
        yield item.flags[0]
        return
    for one in value if item.multiple else [value]:
        yield from item.flags[-1:]
        if item.kind == "pair":
            yield from map(str, one)
        else:
            yield ",".join(one) if item.kind == "commas" else str(one)


def _quoted(word: str) -> str:
    """The word as the magic's line takes it."""
    try:
        plain = bool(word) and read(f"x {word} y").words == ("x", word, "y")
    except WrongUse:
        plain = False
    if plain and not word.endswith(_MEANT):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _positional(item: Parameter, call: Call, namespace: Mapping[str, Any]) -> Iterator[str]:
    value = call.values[item.name]
    if isinstance(value, Reference):
        yield _text(value.name)
        if value.version and call.verb == "serve":
            yield f"version={_text(value.version)}"
        elif value.version or call.verb == "export":
            yield _text(value.version) if value.version else "None"
    elif item.kind == "bundle" and value not in namespace:
        yield f"nbdeploy.Workspace().bundle_of({_text(value)})"
    else:
        yield _value(item, value, namespace)


def _value(item: Parameter, value: Any, namespace: Mapping[str, Any]) -> str:
    if item.kind in {"model", "bundle"}:
        return str(value)
    if item.kind == "expression":
        return _text(value) if item.name == "target" and _is_text(value, namespace) else str(value)
    if item.kind == "data":
        if expressions.is_file(value, namespace):
            return _text(value)
        return f"({value})" if "," in value else str(value)
    if item.kind == "pair":
        return repr(dict(value))
    if item.multiple:
        return f"[{', '.join(map(_text, value))}]"
    return repr(value) if isinstance(value, bool | int | tuple) else _text(value)


def _is_text(value: str, namespace: Mapping[str, Any]) -> bool:
    """Whether --target names a column."""
    return value not in namespace and value.isidentifier()


def _text(value: str | Path) -> str:
    """A literal of one line, also for IPython, which breaks lines at more characters than Python does."""
    shown = json.dumps(str(value), ensure_ascii=False)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
