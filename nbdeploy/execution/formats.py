"""`nbformat`, and what imports it, without two seconds that no notebook needs.

Its `jsonschema` imports `rfc3987_syntax` where that is installed (JupyterLab brings it), and that compiles a grammar of IRIs
at once. Here the grammar is compiled when the first IRI is checked; whoever imports the package himself gets it as it is.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

GRAMMAR = "rfc3987_syntax"


def nbformat() -> Any:
    """The package."""
    swiftly()
    return import_module("nbformat")


def swiftly() -> None:
    """Call it before the first import of what imports `nbformat`; later ones cost nothing."""
    if "jsonschema" in sys.modules or GRAMMAR in sys.modules or find_spec(GRAMMAR) is None:
        return
    stand_in = ModuleType(GRAMMAR)
    stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]  # all that jsonschema takes of it
    sys.modules[GRAMMAR] = stand_in
    try:
        import jsonschema  # noqa: F401
    finally:
        del sys.modules[GRAMMAR]


def _is_valid_syntax(term: str, value: str) -> bool:
    return bool(import_module(GRAMMAR).is_valid_syntax(term, value))
