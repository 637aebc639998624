"""Folders of trials: each has its own, which goes with it; what a killed process left is swept away."""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nbdeploy.run.services import HIDDEN
from nbdeploy.turns import FILE, claimed, turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = f"{HIDDEN}trial-"
LOCKS = (FILE, "supervisor.lock")  # held by the process it belongs to, and by a supervisor that outlived that one


@contextmanager
def scratch(services: Path) -> Iterator[Path]:
    """A folder beside the services that nobody else has, gone afterwards."""
    sweep(services)
    folder = services / f"{PREFIX}{secrets.token_hex(8)}"
    with turn(folder, _nobody_waits):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(services: Path) -> list[str]:
    """Remove the folders whose processes are gone; their names."""
    return [path.name for path in services.glob(f"{PREFIX}*") if path.is_dir() and _removed(path)]


def _removed(folder: Path) -> bool:
    with ExitStack() as held:
        if not all(held.enter_context(claimed(folder / lock)) for lock in LOCKS):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _nobody_waits(_text: str) -> None:
    """Only a sweep ever holds the lock of a folder that has just been made, for a moment."""
