"""What a line asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A verb and what was given to it; options left out are not in `values`."""

    verb: str
    values: dict[str, Any] = field(default_factory=dict)
    json: bool = False
    words: dict[str, Any] = field(default_factory=dict)  # as they were typed, where `values` hold objects by now
