"""The token of a service: one per name, in a file of the user's, unchanged by redeploys."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from nbdeploy.errors import ServiceFailed
from nbdeploy.homes import written_once

if TYPE_CHECKING:
    from pathlib import Path

FILE = "token"


def ensure(folder: Path) -> str:
    """The token kept in the service's folder, made when there is none; two makers agree on one.

    Raises:
        ServiceFailed: the file is there and holds none, which would let in whoever sends none.
    """
    return _of(written_once(folder / FILE, secrets.token_urlsafe(32).encode() + b"\n"), folder, folder.name)


def read(folder: Path, name: str) -> str:
    """The token of the service that runs. Raises ServiceFailed where somebody deleted or emptied it."""
    try:
        return _of((folder / FILE).read_bytes(), folder, name)
    except FileNotFoundError:
        raise ServiceFailed(name, "its token was deleted", f"`nbdeploy serve {name}` gives it a new one") from None


def _of(content: bytes, folder: Path, name: str) -> str:
    token = content.decode("ascii", "replace").strip()
    if not token:
        fact = f"its token file {folder / FILE} is empty"
        raise ServiceFailed(name, fact, f"remove that file; `nbdeploy serve {name}` then gives it a new token")
    return token


def sha256(token: str) -> str:
    """What the service process is given instead of the token."""
    return hashlib.sha256(token.encode()).hexdigest()
