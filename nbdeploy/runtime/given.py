"""What a service that nobody leads is given: a token's file, a folder for its log, the version of its Bento."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_VARIABLE = "NBDEPLOY_TOKEN_FILE"  # noqa: S105  # its name
LOG_VARIABLE = "NBDEPLOY_LOG_DIR"


def token_sha256(environ: Mapping[str, str]) -> str | None:
    """None where no token is asked for. Raises OSError, ValueError: the file cannot be read, or holds none."""
    path = environ.get(TOKEN_VARIABLE)
    if not path:
        return None
    token = Path(path).read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{path}, named by {TOKEN_VARIABLE}, holds no token")
    return hashlib.sha256(token.encode()).hexdigest()


def version_of(src: Path) -> str | None:
    """From the bento.yaml beside src/; None where the bundle is no published Bento."""
    try:
        text = (src.parent / "bento.yaml").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"""^version:\s*['"]?([0-9A-Za-z.+_-]+)['"]?\s*$""", text, re.MULTILINE)
    return found[1] if found else None
