"""Folders that go with the process that made them; those of a killed one are found by the lock nobody holds any more."""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nbdeploy.turns import FILE, claimed, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@contextmanager
def ephemeral(home: Path, prefix: str = "") -> Iterator[Path]:
    """A folder nobody else has, gone afterwards unless it was moved away."""
    folder = home / f"{prefix}{secrets.token_hex(8)}"
    with turn(folder, _nobody_waits):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(
    home: Path, prefix: str = "", *, locks: Sequence[str] = (), end: Callable[[Path], object] | None = None
) -> list[str]:
    """Remove the folders whose process is gone, each after `end` of it; their names. `locks`: others that keep it alive."""
    return [folder.name for folder in home.glob(f"{prefix}*") if folder.is_dir() and _removed(folder, locks, end)]


def _removed(folder: Path, locks: Sequence[str], end: Callable[[Path], object] | None) -> bool:
    with ExitStack() as held:
        if not all(held.enter_context(claimed(folder / lock)) for lock in (FILE, *locks)):
            return False
        if end is not None:
            end(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _nobody_waits(_text: str) -> None:
    """Only a sweep ever holds the lock of a folder that has just been made, for a moment."""
