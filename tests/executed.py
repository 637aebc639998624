"""A shell that runs cells as IPython does, without a kernel."""

from __future__ import annotations

import ast
import builtins
import linecache
from types import SimpleNamespace
from typing import Any


class Shell:
    """What of IPython's shell the capture reads."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self.user_ns_hidden = dict(self.user_ns)
        self.history_manager = SimpleNamespace(input_hist_raw=[""], enabled=False, session_number=1)
        self.compile = SimpleNamespace(_filename_map={})

    def transform_cell(self, text: str) -> str:
        from IPython.core.inputtransformer2 import TransformerManager

        return str(TransformerManager().transform_cell(text))

    def run(self, text: str, *, filename: str | None = None) -> int:
        """Execute a cell statement by statement; gives its number."""
        number = len(self.history_manager.input_hist_raw)
        self.history_manager.input_hist_raw.append(text)
        python = self.transform_cell(text)
        name = filename or f"<cell {hash(python)}>"
        self.compile._filename_map[name] = number
        linecache.cache[name] = (len(python), None, python.splitlines(keepends=True), name)
        for statement in ast.parse(python).body:
            exec(compile(ast.Module([statement], []), name, "exec", dont_inherit=True), self.user_ns)
        return number
