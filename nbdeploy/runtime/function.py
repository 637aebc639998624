"""A function of a notebook as a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Function:
    """`predict(rows)` is the function; rows are of the sample's type."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(self, rows: Any) -> Any:
        return self.function(rows)

    def __repr__(self) -> str:
        return f"Function({self.function.__name__})"
