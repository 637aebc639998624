"""A magic's line, taken apart: words at blanks, while Python expressions stay whole.

`clf --sample X[["a", "b"]] --skip-gate "too slow";` gives clf, --sample, X[["a", "b"]], --skip-gate, too slow, and
asks for quiet. A quote that opens a word (or follows `--option=`) is the shell's and is taken off; any other belongs to
the expression. A comma at the end of a word holds on to the next one. `#` after a blank begins a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbdeploy.errors import WrongUse

_CLOSES = {"(": ")", "[": "]", "{": "}"}
_OPTION = re.compile(r"--?[A-Za-z][\w-]*=")


@dataclass(frozen=True, slots=True)
class Line:
    words: tuple[str, ...]
    quiet: bool = False  # it ended in ";"


@dataclass
class _Reader:
    text: str
    at: int = 0

    def words(self) -> list[str]:
        found: list[str] = []
        held = False  # by a comma of the expression's own; one inside the shell's quotes is text
        while self.skip_blanks():
            word = self.word()
            if held and not word.startswith("--"):
                found[-1] += word
            else:
                found.append(word)
            held = self.text[self.at - 1] == "," and not found[-1].startswith("-")
        return found

    def skip_blanks(self) -> bool:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at < len(self.text) and self.text[self.at] != "#"

    def word(self) -> str:
        parts: list[str] = []
        waiting: list[str] = []
        while self.at < len(self.text) and (waiting or not self.text[self.at].isspace()):
            char = self.text[self.at]
            if char in "\"'":
                parts.append(self.quoted(bare=not waiting and _opens("".join(parts))))
                continue
            if char in _CLOSES:
                waiting.append(_CLOSES[char])
            elif waiting and char == waiting[-1]:
                waiting.pop()
            parts.append(char)
            self.at += 1
        if waiting:
            raise WrongUse(f'"{waiting[-1]}" is missing in: {self.text.strip()}')
        return "".join(parts)

    def quoted(self, *, bare: bool) -> str:
        """The quoted text from here on, with its quotes, or `bare` without them."""
        start, quote = self.at, self.text[self.at]
        inside: list[str] = []
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != quote:
            if self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in {quote, "\\"}:
                self.at += 1
            inside.append(self.text[self.at])
            self.at += 1
        if self.at == len(self.text):
            raise WrongUse(f"The quote {quote} is not closed in: {self.text.strip()}")
        self.at += 1
        return "".join(inside) if bare else self.text[start : self.at]


def _opens(before: str) -> bool:
    return not before or _OPTION.fullmatch(before) is not None


def read(text: str) -> Line:
    """Raises WrongUse where a bracket or quote is left open."""
    stripped = text.rstrip()
    if (asked := re.fullmatch(r"\s*([a-z]+)\?+", stripped)) is not None:  # `%deploy up?`, IPython's way to ask
        return Line((asked[1], "--help"))
    return Line(tuple(_Reader(stripped.rstrip("; ")).words()), quiet=stripped.endswith(";"))


def unfinished(text: str) -> tuple[tuple[str, ...], str]:
    """For completion: the whole words, and the one still being written ("" after a blank)."""
    for start in [0, *(found.end() for found in re.finditer(r"\s", text))][::-1]:
        try:
            before = read(text[:start]).words
        except WrongUse:
            continue
        return before, text[start:]
    return (), text
