"""A folder written for others: there whole or not at all, with the hash of every file in it, and nothing of anybody's lost."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy.errors import DiskFailed, HomeUnavailable, Refused
from nbdeploy.homes import path_of, private, sync_folder
from nbdeploy.runtime.manifest import digest_of
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
KEPT = "secrets"  # a folder of its owner's: never written; where `kept` names it, it stays as the rest is replaced


def hand_out(folder: Path, doing: str, write: Callable[[Path], None], *, kept: str = "") -> Path:
    """Have `write` fill a draft, add SHA256SUMS, and let it take its place as `folder`.

    A folder that was handed out before, and is untouched since, is replaced; what lies in its folder `kept` (KEPT, or
    nothing) is its owner's and stays. What a killed export left beside it is put back, or removed.

    Raises:
        Refused: the folder holds something else, or cannot be replaced as a whole.
        DiskFailed: it cannot be written.
    """
    swap = Swap.of(folder)
    try:
        swap.place.parent.mkdir(parents=True, exist_ok=True)
        private(swap.beside)
        with turn(swap.beside, lambda _text: None), swap.tidied():
            swap.put_back()
            refuse_foreign(folder, kept)
            swap.draft.mkdir()
            write(swap.draft)
            (swap.draft / SUMS).write_text(_sums(swap.draft), encoding="utf-8")
            for path in swap.draft.rglob("*"):
                sync_folder(path)
            swap.carry_out(kept)
        _settle(swap.place, doing)
    except HomeUnavailable as exc:  # of the lock
        raise DiskFailed(doing, exc.path, exc.fact) from exc
    except OSError as exc:
        raise swap.failed(exc, doing) from exc
    return folder


def _settle(place: Path, doing: str) -> None:
    """Raises DiskFailed: the folder is there, and may not be after a power cut."""
    try:
        sync_folder(place.parent)
    except OSError as exc:
        where, fact = path_of(exc) or str(place.parent), exc.strerror or str(exc)
        raise DiskFailed(doing, where, fact, f"{place} is written, but a power cut could still undo it") from exc


@dataclass(frozen=True)
class Swap:
    """A folder, and one beside it that holds the draft of the next, and for a moment what was there before."""

    place: Path
    beside: Path

    @classmethod
    def of(cls, folder: Path) -> Swap:
        place = _place(folder)
        return cls(place, place.with_name(f".{place.name}.export"))

    @property
    def draft(self) -> Path:
        return self.beside / "draft"

    @property
    def old(self) -> Path:
        return self.beside / "old"

    def carry_out(self, kept: str) -> None:
        """A folder cannot be renamed over another one with something in it: the old one steps aside first."""
        with suppress(FileNotFoundError):
            self.place.rename(self.old)
        try:
            if kept and os.path.lexists(self.old / kept):
                (self.old / kept).rename(self.draft / kept)
            self.draft.rename(self.place)
        except OSError:
            with suppress(OSError):
                if _holds(self.draft):
                    (self.draft / KEPT).rename(self.old / KEPT)
                self.old.rename(self.place)
            raise

    def put_back(self) -> None:
        """What an export that was killed while it changed the folders has moved, or one that could not move it back.

        Raises:
            Refused: something of its owner's has no place of its own any more.
        """
        if self.old.is_dir() and not os.path.lexists(self.place):
            self.old.rename(self.place)
        if _holds(self.draft) and self.place.is_dir() and not _holds(self.place):
            (self.draft / KEPT).rename(self.place / KEPT)
        for left in (self.draft, self.old):
            if _holds(left):
                raise Refused(f"{left / KEPT} is yours, of an export that failed; move it away, and try again.")
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Nothing lies beside the folder afterwards, unless it is the only one of its kind."""
        try:
            yield
        finally:
            if not self._lost and not _holds(self.draft) and not _holds(self.old):
                shutil.rmtree(self.beside, ignore_errors=True)

    @property
    def _lost(self) -> bool:
        """Whether what was there before is not at its place."""
        return self.old.is_dir() and not self.place.exists()

    def failed(self, error: OSError, doing: str) -> DiskFailed:
        """Also where the roll-back failed: then the owner's things lie beside their place, and it is said where."""
        where, fact = path_of(error) or str(self.place), error.strerror or str(error)
        lying = [f"what was in {self.place} is whole, in {self.old}"] if self._lost else []
        if _holds(self.draft):
            lying.append(f"your {KEPT}/ is whole, in {self.draft / KEPT}")
        if not lying:
            return DiskFailed(doing, where, fact)
        told = " and ".join(lying)
        return DiskFailed(doing, where, fact, f"{told[0].upper()}{told[1:]}", "try again, or move it back")


def _place(folder: Path) -> Path:
    """Absolute, and with a name of its own: neither "." nor ".."."""
    plain = folder.name not in {"", ".."}
    return folder.parent.resolve() / folder.name if plain else folder.resolve()


def _holds(folder: Path) -> bool:
    """Whether what is its owner's lies there; `write` is never given a folder of that name."""
    return os.path.lexists(folder / KEPT)


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
    whole = "and an export takes the place of the whole folder"
    if os.path.ismount(folder):
        raise Refused(f"A disk is mounted at {folder}, {whole}; name a folder inside it.")
    if _place(folder) in {_here(), *_here().parents}:
        raise Refused(f"{folder} is where you are, {whole}; go to another one, and name this one from there.")


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # removed meanwhile
        return Path("/")


def _untouched(folder: Path, kept: str) -> bool:
    try:
        return (folder / SUMS).read_text(encoding="utf-8") == _sums(folder, kept)
    except OSError:
        return False
