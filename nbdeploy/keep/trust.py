"""Whose code may run: loading a bundle runs it, so its digest must be one this user published or said yes to."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from nbdeploy.errors import Refused, Untrusted
from nbdeploy.homes import written_once

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.keep.registry import Books, Registry, View
    from nbdeploy.keep.version import Version


def is_trusted(view: View, digest: str) -> bool:
    """Whether any version with this digest was published here, or trusted."""
    for version in view.by_digest(digest):
        for event in view.events(version.name, version.version):
            if event.kind in {"published", "trusted"} or event.detail.get("trusted"):
                return True
    return False


def require_trusted(registry: Registry, version: Version) -> None:
    """Raises Untrusted, with the digest to say yes to."""
    with registry.reading() as view:
        if not is_trusted(view, version.digest):
            raise Untrusted(version.tag, version.digest)


def trust_in(books: Books, version: Version, digest: str) -> None:
    agree(version.tag, digest, version.digest)
    if not is_trusted(books, version.digest):
        books.add(version.name, "trusted", version.version, digest=digest)


def agree(what: str, said: str, found: str) -> None:
    """Raises Refused where the digest somebody trusts is another one."""
    if not hmac.compare_digest(said.removeprefix("sha256:").encode(), found.removeprefix("sha256:").encode()):
        raise Refused(
            f"{what} has the digest {found}, and not {said}: nothing was changed. Trust it only if that is the one you expect."
        )


def mark(registry: Path, name: str, version: str, digest: str) -> str:
    """Proof, kept in the store, that this registry published or trusted the bundle; `recover` believes no other."""
    key = _key(registry.with_name("registry.key"))
    return hmac.new(key, f"{name}:{version} {digest}".encode(), hashlib.sha256).hexdigest()


def marked(registry: Path, name: str, version: str, digest: str, proof: str) -> bool:
    return hmac.compare_digest(mark(registry, name, version, digest), proof)


def _key(path: Path) -> bytes:
    """The secret of this home, made when first wanted."""
    return written_once(path, secrets.token_bytes(32))
