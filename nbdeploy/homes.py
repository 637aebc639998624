"""Folders of the user's alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbdeploy.errors import HomeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def private(folder: Path) -> Path:
    """The folder, made with mode 0700 where it is missing, and its missing parents too; what is there stays as it is."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def path_of(error: OSError) -> str | None:
    """Where it failed: of two paths the second, which was to be written; a full disk is never that of the first."""
    path = error.filename2 or error.filename
    return None if path is None else str(path)


@contextmanager
def failing(doing: str, home: Path) -> Iterator[None]:
    """The file system's errors become ours."""
    try:
        yield
    except OSError as exc:
        raise HomeUnavailable(doing, path_of(exc) or str(home), exc.strerror or str(exc)) from exc
