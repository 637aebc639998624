"""Who a serving process is: what `/readyz` echoes and every answer names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .manifest import Schema


@dataclass(slots=True)
class Identity:
    """`version` is None until the process is activated; its traffic until then is a check, neither logged nor counted.

    `worker` is its place among `workers`, from 0; who takes the place of a dead one has its number.
    """

    name: str
    version: str | None
    digest: str
    nonce: str = ""
    worker: int = 0
    workers: int = 1

    @property
    def label(self) -> str:
        """What answers carry as their version: before activation the digest's first twelve figures."""
        return self.version or short(self.digest)


def short(digest: str) -> str:
    return "sha256:" + digest.removeprefix("sha256:")[:12]


def schema_id(schema: Schema) -> str:
    """Twelve figures that two versions share when their input is the same; logged with every request."""
    text = json.dumps(asdict(schema), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
