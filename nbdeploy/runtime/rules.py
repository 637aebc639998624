"""How a service's prediction log is written: what of a row is kept, when a segment is full, how long segments stay."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

SEGMENT_BYTES = 64 * 2**20
SEGMENT_MINUTES = 60.0


@dataclass(frozen=True, slots=True)
class Rules:
    """`retention_days` and `retention_bytes` None: for ever, however much it is."""

    policy: Policy = field(default_factory=Policy)
    rotate_bytes: int = SEGMENT_BYTES
    rotate_minutes: float = SEGMENT_MINUTES
    retention_days: float | None = None
    retention_bytes: int | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Rules:
        """What a newer kernel says of a log beside these is left out; a policy's words are all known since there are any."""
        known = {item.name for item in fields(cls)} - {"policy"}
        others = {key: value for key, value in raw.items() if key in known}
        return cls(Policy.from_dict(raw.get("policy") or {}), **others)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
