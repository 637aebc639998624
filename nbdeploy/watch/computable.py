"""`NotComputable`: why there is no number. It stands where the number would, so that it hides no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotComputable:
    reason: str

    def __str__(self) -> str:
        return f"not computable ({self.reason})"


def plain(value: Any) -> Any:
    """As JSON: the number, or {"not_computable": reason}."""
    return {"not_computable": value.reason} if isinstance(value, NotComputable) else value
