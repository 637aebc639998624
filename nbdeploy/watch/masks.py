"""What may be shown of a channel's address: its scheme, and of a webhook its host. All else may be a secret."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
_PARTS = re.compile(r"[/:@?&=#,;\s]+")
_SHORT = 3  # characters; shorter pieces are in every sentence


def masked(url: str) -> str:
    """https://hooks.example.com/***, mailto://***. The host of other schemes often is the token."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return HIDDEN
    if parts.scheme in {"http", "https"} and place:
        rest = f"/{HIDDEN}" if parts.path.strip("/") or parts.query or parts.fragment else ""
        return f"{parts.scheme}://{HIDDEN + '@' if parts.username else ''}{place}{rest}"
    return f"{parts.scheme}://{HIDDEN}" if parts.scheme else HIDDEN


def without(text: str, url: str) -> str:
    """The text with every piece of the address taken out of it."""
    scheme, _, rest = url.partition("://")
    pieces = {piece for form in (rest, unquote(rest)) for piece in (form, *_PARTS.split(form))}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) > _SHORT and piece != scheme:
            text = text.replace(piece, HIDDEN)
    return text
