"""Live metrics on the time axis, from labels that were read together with the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.live import Live, Log
    from nbdeploy.watch.performance import Performance

TASKS = ("classification", "regression")
NO_LABELS = NotComputable("no label came yet")


def live(log: Log | None, task: str | None, classes: Sequence[Any] = ()) -> Live | NotComputable:
    """Of a log that has passed by; None where there are no labels."""
    if task not in TASKS:
        return NotComputable(f"there is no label to hold the answers of a {task or 'model of unknown'} task against")
    return NO_LABELS if log is None else log.live(task, classes=classes)


def by_place(found: Live | NotComputable, axis: Axis) -> dict[int, list[Performance]]:
    placed: dict[int, list[Performance]] = {}
    if isinstance(found, NotComputable):
        return placed
    for one in found.windows:
        placed.setdefault((one.began - axis.began) // axis.every, []).append(one)
    return placed
