"""What a kernel asks a supervisor to serve."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """`environment` is all a worker sees; it may hold secrets, so it travels over the socket and is never stored."""

    name: str
    bundle: str  # the folder that holds src/
    digest: str
    python: str
    registry: str
    environment: dict[str, str]
    workers: int = 1
    port: int | None = None  # None: the one this name has, else a free one
    token_sha256: str | None = None
    log: str | None = None  # the folder of the prediction log
    strict_log: bool = False
    log_rules: dict[str, Any] = field(default_factory=dict)  # fields of Rules
    limits: dict[str, Any] = field(default_factory=dict)
    ready_timeout: float = 120.0
    drain_timeout: float = 30.0
    loop: str = "uvloop"
    container: dict[str, Any] | None = None  # what a relay needs to run one (run/container.py); None: our own processes

    @property
    def launcher(self) -> str:
        return "local" if self.container is None else "container"

    @property
    def processes(self) -> int:
        """Workers of a container are its own; here there is one relay."""
        return self.workers if self.container is None else 1

    @property
    def src(self) -> Path:
        return Path(self.bundle, "src")

    @property
    def silence(self) -> float:
        """Seconds after which a worker that does not answer its supervisor is stuck."""
        return float(self.limits.get("predict_timeout", 30.0)) + 10.0

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Order:
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in raw.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
