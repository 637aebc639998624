"""`state.json`: what a supervisor last said about its service, for whoever probes it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from .clock import now
from .process import Process

if TYPE_CHECKING:
    from pathlib import Path

FILE = "state.json"


@dataclass(frozen=True, slots=True)
class State:
    """`state` is starting | ready | degraded | failed | stopped; whether it still holds must be probed."""

    name: str
    state: str
    since: str
    launcher: str = "local"
    version: str | None = None
    digest: str | None = None
    bundle: str | None = None  # the folder that holds src/
    url: str | None = None
    port: int | None = None
    pid: int | None = None
    start: str | None = None
    boot: str | None = None
    nonce: str | None = None
    workers: int = 1
    pids: tuple[int, ...] = ()
    failure: str | None = None

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """None where there is none, or where it was cut short."""
        try:
            return cls.from_dict(json.loads((folder / FILE).read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> State:
        known = {field.name for field in fields(cls)}
        state = cls(**{key: value for key, value in raw.items() if key in known})
        return replace(state, pids=tuple(state.pids))

    def write(self, folder: Path) -> None:
        """Readers see the old file or the new one."""
        draft = folder / f".{FILE}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(self.to_dict(), indent=1).encode() + b"\n")
        draft.replace(folder / FILE)

    @staticmethod
    def stamp(folder: Path) -> int | None:
        """Another one after each writing; None where there is none."""
        try:
            return (folder / FILE).stat().st_mtime_ns
        except OSError:
            return None

    @property
    def process(self) -> Process:
        """The supervisor that said so."""
        return Process(self.pid or 0, self.start or "", self.boot or "")

    def ended(self) -> State:
        """The same service, stopped just now."""
        gone = replace(self, pid=None, start=None, boot=None, nonce=None, pids=(), failure=None)
        return replace(gone, state="stopped", since=now())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
