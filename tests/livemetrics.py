"""Live metrics of a log and its labels in one call, as the page puts them together from what it reads once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.watch.live import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from nbdeploy.capture.profile import Profile
    from nbdeploy.run.feedback import Feedback
    from nbdeploy.run.predictions import Predictions
    from nbdeploy.watch.live import Live


def live(
    predictions: Predictions,
    feedback: Feedback,
    task: str,
    *,
    every: timedelta | None = None,
    reference: Profile | None = None,
    classes: Sequence[Any] = (),
) -> Live:
    log = Log(feedback.frame(), every, reference)
    for batch in predictions.batches(log.columns):
        log.add(batch)
    return log.live(task, classes=classes)
