"""A folder written for others: there whole or not at all, with the hash of every file in it, and nothing of anybody's lost."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from nbdeploy.errors import DiskFailed, Refused
from nbdeploy.homes import path_of, sync_folder
from nbdeploy.runtime.manifest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it


def hand_out(folder: Path, doing: str, write: Callable[[Path], None], *, kept: str = "") -> Path:
    """Have `write` fill a draft, add SHA256SUMS, and let it take its place as `folder`.

    A folder that was handed out before, and is untouched since, is replaced; what lies in its folder `kept` is its owner's
    and stays.

    Raises:
        Refused: the folder holds something else.
        DiskFailed: it cannot be written.
    """
    place = folder.absolute()
    refuse_foreign(folder, kept)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        write(draft)
        (draft / SUMS).write_text(_sums(draft), encoding="utf-8")
        for path in draft.rglob("*"):
            sync_folder(path)
        _swap(draft, place, kept)
        sync_folder(place.parent)
    except OSError as exc:
        raise _failed(exc, doing, draft, place, kept) from exc
    finally:
        if not _holds(draft, kept):
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _holds(folder: Path, kept: str) -> bool:
    """Whether what is its owner's lies there; `write` is never given a folder of that name."""
    return bool(kept) and os.path.lexists(folder / kept)


def _failed(error: OSError, doing: str, draft: Path, place: Path, kept: str) -> DiskFailed:
    """Also where the roll-back failed: then the owner's things lie beside their place, and it is said where."""
    where, fact = path_of(error) or str(place), error.strerror or str(error)
    old = _old(place)
    lying = [f"what was in {place} is whole, in {old}"] if old.is_dir() and not place.exists() else []
    if _holds(draft, kept):
        lying.append(f"your {kept}/ is whole, in {draft / kept}")
    if not lying:
        return DiskFailed(doing, where, fact)
    told = " and ".join(lying)
    return DiskFailed(doing, where, fact, f"{told[0].upper()}{told[1:]}", "move it back, and try again")


def _sums(folder: Path, kept: str = "") -> str:
    found = sorted(_content(folder, kept).items())
    return "".join(f"{digest.removeprefix('sha256:')}  {name}\n" for name, digest in found)


def _content(folder: Path, kept: str) -> dict[str, str]:
    """Path relative to the folder and digest of every file but the list itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    named = {path.relative_to(folder): path for path in files}
    own = {name: path for name, path in named.items() if name.as_posix() != SUMS and name.parts[0] != kept}
    return {name.as_posix(): digest_of(path) for name, path in own.items()}


def refuse_foreign(folder: Path, kept: str = "") -> None:
    """Also for those who have much to do before they write."""
    if not folder.exists() and not folder.is_symlink():
        return
    step = "It stays as it is; name another folder, or move it away."
    if folder.is_symlink() or not folder.is_dir():
        raise Refused(f"{folder} is there already, and is no folder. {step}")
    if any(folder.iterdir()) and not _untouched(folder, kept):
        raise Refused(f"{folder} is there already, and holds what no export wrote, or what was changed since. {step}")


def _untouched(folder: Path, kept: str) -> bool:
    try:
        return (folder / SUMS).read_text(encoding="utf-8") == _sums(folder, kept)
    except OSError:
        return False


def _swap(draft: Path, place: Path, kept: str) -> None:
    """A folder cannot be renamed over another one with something in it: the old one steps aside first."""
    old = _old(place)
    with suppress(FileNotFoundError):
        place.rename(old)
    try:
        if _holds(old, kept):
            (old / kept).rename(draft / kept)
        draft.rename(place)
    except OSError:
        with suppress(OSError):
            if _holds(draft, kept):
                (draft / kept).rename(old / kept)
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.{os.getpid()}.old")
