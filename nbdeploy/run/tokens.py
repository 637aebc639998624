"""The token of a service: one per name, in a file of the user's, unchanged by redeploys."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

from nbdeploy.errors import ServiceFailed
from nbdeploy.homes import private

if TYPE_CHECKING:
    from pathlib import Path

FILE = "token"


def ensure(folder: Path) -> str:
    """The token kept in the service's folder, made when there is none; two makers agree on one."""
    path = folder / FILE
    if not path.exists():
        private(folder)
        draft = folder / f".{FILE}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def read(folder: Path, name: str) -> str:
    """The token of the service that runs. Raises ServiceFailed where somebody deleted it."""
    try:
        return (folder / FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ServiceFailed(name, "its token was deleted", f"`nbdeploy serve {name}` gives it a new one") from None


def sha256(token: str) -> str:
    """What the service process is given instead of the token."""
    return hashlib.sha256(token.encode()).hexdigest()
