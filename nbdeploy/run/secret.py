"""The secret of a service's hashes: made when a column is first hashed, in a file of the user's, as long as the service."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from nbdeploy.errors import ServiceFailed
from nbdeploy.homes import written_once
from nbdeploy.runtime.policy import hashed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbdeploy.runtime.policy import Policy

FILE = "log.key"
BYTES = 32


def ensure(folder: Path) -> str:
    """In hexadecimal; made where there is none."""
    return _of(written_once(folder / FILE, secrets.token_hex(BYTES).encode() + b"\n"), folder)


def hasher(folder: Path) -> Callable[[object], str | None]:
    """What a value has become in a column that is hashed, to look for it or to join by it.

    Raises:
        ServiceFailed: there is no secret, so nothing was hashed, or somebody deleted it.
    """
    try:
        secret = bytes.fromhex(_of((folder / FILE).read_bytes(), folder))
    except FileNotFoundError:
        fact = f"{folder / FILE} is gone, and with it the way from a value to its hash"
        raise ServiceFailed(folder.name, fact, "what is logged from the next start on has another secret") from None
    return lambda value: hashed(secret, value)


def needed(policy: Policy) -> bool:
    return "hash" in policy.columns.values()


def _of(content: bytes, folder: Path) -> str:
    text = content.decode("ascii", "replace").strip()
    if len(text) != 2 * BYTES or set(text) - set("0123456789abcdef"):
        fact = f"{folder / FILE} does not hold the secret of its log"
        raise ServiceFailed(folder.name, fact, "remove that file; hashes written before are then no longer joined")
    return text
