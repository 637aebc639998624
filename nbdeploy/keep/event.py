"""What happened to a name, in order: the append-only half of the registry."""

from __future__ import annotations

import getpass
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

# Events that say which version is live from then on; "taken down": none. The view and index of registry.sql name them too.
MOVES = ("live", "rolled back", "taken down")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry; `seq` is the order, `time` (UTC) only what the clock said.

    kind: published | live | rolled back | stopped | removed | taken down | imported | recovered | trusted | corrupt |
    gate skipped | validated | bump forced, and whatever else a stage has to say about a name.
    """

    seq: int
    time: str
    user: str
    name: str
    version: str | None
    kind: str
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "time": self.time,
            "user": self.user,
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "detail": self.detail,
        }

    def row(self) -> tuple[Any, ...]:
        """The columns of table events, sealed."""
        cells = (self.seq, self.time, self.user, self.name, self.version, self.kind, dumps(self.detail))
        return (*cells, seal(*cells))

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Event:
        """Raises ValueError where the row is not what was written."""
        *cells, sealed = tuple(row)
        if seal(*cells) != sealed:
            raise ValueError(f"event {row['seq']} was altered")
        seq, time, user, name, version, kind, detail = cells
        return cls(seq, time, user, name, version, kind, json.loads(detail))


def seal(*cells: Any) -> str:
    """A checksum of one row; against flipped bytes, not against an enemy."""
    return hashlib.blake2b("\x1f".join(map(repr, cells)).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def dumps(detail: Any) -> str:
    return json.dumps(detail, sort_keys=True, default=str)


def this_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user id without an entry, and no USER
        return "unknown"
