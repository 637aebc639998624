"""How a service's prediction log is written: what of a row is kept, when a segment is full, how long segments stay."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .policy import Policy, default

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .model import ServedModel

SEGMENT_BYTES = 32 * 2**20
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
    def of(cls, raw: Mapping[str, Any], model: ServedModel, src: Path) -> Rules:
        """As ordered; else as the bundle was made: what is served by others than nbdeploy keeps no more than is said there.

        Nobody has a secret then, so that what is to be hashed is dropped.
        """
        if "policy" in raw:
            return cls.from_dict(raw)
        said = model.manifest.provenance.get("log") or {}
        words = default(model.manifest.schema) | said.get("columns", {})
        kept = {name: "drop" if word == "hash" else word for name, word in words.items() if word != "keep"}
        edges = bins(src) if "bucket" in kept.values() else {}
        return cls(Policy(kept, edges, float(said.get("sample", 1.0))))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Rules:
        """What a newer kernel says of a log beside these is left out; a policy's words are all known since there are any."""
        known = {item.name for item in fields(cls)} - {"policy"}
        others = {key: value for key, value in raw.items() if key in known}
        return cls(Policy.from_dict(raw.get("policy") or {}), **others)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bins(src: Path) -> dict[str, tuple[float, ...]]:
    """The training profile's edges of each column of numbers."""
    columns = json.loads((src / "profile.json").read_bytes())["columns"]
    return {
        name: tuple(one["edges"]) for name, one in columns.items() if one.get("kind") == "number" and "edges" in one
    }
