"""Folders of the user's alone, and files in them that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nbdeploy.errors import DiskFailed, HomeUnavailable, WrongUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def private(folder: Path) -> Path:
    """The folder, made with mode 0700 where it is missing, and its missing parents too; what is there stays as it is."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Old content or new, never half of it, and on the disk when this returns; `mode` is what the umask is taken from."""
    with _draft(path, content, mode) as draft:
        draft.replace(path)
    sync_folder(path.parent)


def written_once(path: Path, content: bytes) -> bytes:
    """What the file holds, for this user's eyes alone: `content` where there was none. Of several makers one wins."""
    if not path.exists():
        private(path.parent)
        with _draft(path, content, 0o600) as draft, suppress(FileExistsError):  # another was first; its content counts
            os.link(draft, path)
        sync_folder(path.parent)
    return path.read_bytes()


@contextmanager
def _draft(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A file beside `path` with that content, on the disk; gone afterwards."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Fsync a folder or a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def path_of(error: OSError) -> str | None:
    """Where it failed: of two paths the second, which was to be written; a full disk is never that of the first."""
    path = error.filename2 or error.filename
    return None if path is None else str(path)


def refuse_file(folder: Path) -> None:
    """Raises WrongUse where a folder is to be written and a file is there."""
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"{folder} is a file, and several are to be written: name a folder.")


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Raises DiskFailed where a file that the user named cannot be written."""
    try:
        yield
    except OSError as exc:
        raise DiskFailed(f"writing {file}", str(file), exc.strerror or str(exc)) from exc


@contextmanager
def failing(doing: str, home: Path) -> Iterator[None]:
    """The file system's errors become ours."""
    try:
        yield
    except OSError as exc:
        raise HomeUnavailable(doing, path_of(exc) or str(home), exc.strerror or str(exc)) from exc
