"""Arrays kept beside a closed segment: what was computed of it, and can be again. They go when it goes."""

from __future__ import annotations

import io
import os
import secrets
import zlib
from typing import TYPE_CHECKING

from nbdeploy.run.seal import is_own
from nbdeploy.runtime.retention import ARRAYS, DRAFT
from nbdeploy.runtime.segments import opened

SUM = 8  # bytes at the begin of a file; what follows is an archive as numpy writes it

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]


def read(segment: Path, name: str) -> Arrays | None:
    """None where there are none of this user's that can be read, or not as they were written."""
    import numpy as np

    try:
        with os.fdopen(opened(_file(segment, name)), "rb") as file:
            if not is_own(file.fileno()):
                return None
            told, archive = file.read(SUM), file.read()
    except OSError:
        return None
    if told != _sum(archive):
        return None
    with np.load(io.BytesIO(archive), allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def write(segment: Path, name: str, arrays: Arrays) -> None:
    """Whole or not at all.

    Raises:
        OSError: no room, or not our folder.
    """
    import numpy as np

    text = io.BytesIO()
    np.savez(text, **arrays)  # type: ignore[arg-type]  # numpy's own types know no mapping here
    draft = segment.with_name(f"{DRAFT}{segment.stem}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(_sum(text.getbuffer()))
            file.write(text.getbuffer())
        draft.replace(_file(segment, name))
    finally:
        draft.unlink(missing_ok=True)


def _sum(archive: bytes | memoryview) -> bytes:
    return b"%08x" % zlib.crc32(archive)


def _file(segment: Path, name: str) -> Path:
    return segment.with_name(f"{segment.stem}.{name}{ARRAYS}")
