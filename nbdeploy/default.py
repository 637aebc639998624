"""The workspace behind `nbdeploy.deploy()` and `%deploy`: one a process, made when first used."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbdeploy.workspace import Workspace


@cache
def workspace() -> Workspace:
    """Its settings are those of the working directory of now, however they are edited later; services in memory live in it."""
    from nbdeploy.workspace import Workspace

    return Workspace()
