"""Tab completion of a `%deploy` line: verbs, options, variables, names and versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion

from nbdeploy.errors import NbdeployError
from nbdeploy.front import expressions
from nbdeploy.front.grammar import VERBS
from nbdeploy.front.line import unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbdeploy.front.grammar import Parameter, Verb
    from nbdeploy.workspace import Workspace

_LINE = re.compile(r"(?:^|[=;]|^\s+)\s*%{1,2}deploy[ \t](?P<rest>.*)$", re.DOTALL)


class Completion:
    def __init__(self, namespace: Callable[[], dict[str, Any]], workspace: Callable[[], Workspace]) -> None:
        self.namespace = namespace
        self.workspace = workspace

    def complete(self, text: str) -> dict[str, Any]:
        """IPython's v2 answer for the line up to the cursor; it silences other matchers only where the line is ours."""
        match = _LINE.search(text)
        if match is None:
            return {"completions": [], "suppress": False}
        words, fragment = unfinished(match["rest"])
        cell = "%%deploy" in text
        found = sorted(self._candidates(["up", "predict", *words] if cell else words, fragment))
        return {
            "completions": [SimpleCompletion(text=word, type="nbdeploy") for word in found],
            "matched_fragment": fragment,
            "suppress": bool(found),
        }

    def _candidates(self, words: Sequence[str], fragment: str) -> Iterable[str]:
        if not words:
            return _starting([*VERBS, *self._models()], fragment)
        verb = VERBS.get(words[0], VERBS["up"])
        rest = words[1:] if words[0] in VERBS else words
        option = verb.option(rest[-1]) if rest else None
        if option is not None and option.takes_value:
            return self._values(option, rest, fragment)
        if fragment.startswith("-"):
            return _starting(_unused(verb, rest), fragment)
        position = len(_positional(verb, rest))
        if position < len(verb.words):
            return self._values(verb.words[position], rest, fragment)
        return _starting(_unused(verb, rest), fragment)

    def _values(self, item: Parameter, rest: Sequence[str], fragment: str) -> Iterable[str]:
        if item.choices:
            return _starting(item.choices, fragment)
        if item.kind == "model":
            return _starting(self._models(), fragment)
        if item.kind in {"expression", "data"}:
            return _starting(expressions.variables(self.namespace()), fragment)
        if item.kind == "name":
            return _starting(self._names(), fragment)
        if item.kind == "version":
            return _starting(self._versions(rest[0]), fragment)
        if item.kind in {"reference", "version or bundle"}:
            return _starting(self._references(fragment), fragment)
        return ()

    def _models(self) -> list[str]:
        return expressions.models(self.namespace())

    def _names(self) -> Sequence[str]:
        try:
            names: Sequence[str] = self.workspace().names()
        except (NbdeployError, OSError):  # a key press is no place for an error
            return ()
        return names

    def _versions(self, name: str) -> list[str]:
        try:
            return [version.version for version in self.workspace().versions(name)]
        except (NbdeployError, OSError):  # as above
            return []

    def _references(self, fragment: str) -> Iterable[str]:
        name, colon, _ = fragment.partition(":")
        return [f"{name}:{version}" for version in self._versions(name)] if colon else self._names()


def _positional(verb: Verb, rest: Sequence[str]) -> list[str]:
    """The words of `rest` that belong to no option."""
    found, skip = [], 0
    for word in rest:
        option = None if skip else verb.option(word)
        if not skip and not word.startswith("-"):
            found.append(word)
        takes = 0 if option is None or not option.takes_value else 2 if option.kind == "pair" else 1
        skip = takes or max(skip - 1, 0)
    return found


def _unused(verb: Verb, rest: Sequence[str]) -> list[str]:
    open_ = [item for item in verb.options if item.multiple or not set(item.flags) & set(rest)]
    return [item.flags[0] for item in open_]


def _starting(words: Iterable[str], fragment: str) -> list[str]:
    return [word for word in words if word.startswith(fragment)]
