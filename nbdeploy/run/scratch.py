"""Folders of checks and trials, beside the services; nobody's services themselves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbdeploy import ephemeral
from nbdeploy.run.services import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = f"{HIDDEN}trial-"
LOCK = "supervisor.lock"  # held by a supervisor, which may outlive the process that started it


@contextmanager
def scratch(services: Path) -> Iterator[Path]:
    """A folder for one service, gone afterwards."""
    sweep(services)
    with ephemeral.ephemeral(services, PREFIX) as folder:
        yield folder


def sweep(services: Path) -> list[str]:
    """Remove the folders whose processes are gone; their names."""
    return ephemeral.sweep(services, PREFIX, locks=(LOCK,))
