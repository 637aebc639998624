"""Live metrics on the time axis, from labels that were read together with the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.errors import an
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.task import LABELLED

if TYPE_CHECKING:
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.live import Live, Log
    from nbdeploy.watch.performance import Performance
    from nbdeploy.watch.task import Task

NO_LABELS = NotComputable("no label came yet")


def live(log: Log | None, task: Task) -> Live | NotComputable:
    """Of a log that has passed by; None where there are no labels. `task` is that of the newest version."""
    if task.name not in LABELLED:
        return NotComputable(f"there is no label to hold the answers of {an(task.name)} task against")
    return NO_LABELS if log is None else log.live(task.name, classes=task.classes)


def by_place(found: Live | NotComputable, axis: Axis) -> dict[int, list[Performance]]:
    placed: dict[int, list[Performance]] = {}
    if isinstance(found, NotComputable):
        return placed
    for one in found.windows:
        placed.setdefault((one.began - axis.began) // axis.every, []).append(one)
    return placed
