"""What a supervisor tells a worker: its whole command line, as one message."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Spec:
    """`public` and `private` are descriptors of listening sockets; `private` only for a candidate."""

    src: str  # the folder of manifest.json
    name: str
    digest: str
    nonce: str
    parent: int
    public: int
    version: str | None = None  # None until it is activated
    private: int | None = None
    token_sha256: str | None = None
    log: str | None = None  # the folder of the prediction log
    strict_log: bool = False
    log_rules: dict[str, Any] = field(default_factory=dict)  # fields of Rules
    drain_timeout: float = 30.0
    limits: dict[str, Any] = field(default_factory=dict)  # fields of Limits
    loop: str = "uvloop"  # or asyncio
    worker: int = 0  # its place, from 0; that of a dead one is taken again
    workers: int = 1
    container: dict[str, Any] | None = None  # for a relay: how to run one

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Spec:
        """A bundle's runtime may be older than its supervisor: what it does not know is left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in raw.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
