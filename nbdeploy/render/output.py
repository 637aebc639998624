"""One output of a notebook cell, from its forms by media type; where nobody displays, its text is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def show(forms: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """`about` is the output's metadata, by media type."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(forms["text/plain"])  # noqa: T201  # a script's own output
        return
    display(dict(forms), raw=True, metadata=dict(about or {}))
