"""Logs and labels of a few lines, and their live metrics in one call, as the page puts them together from what it reads once."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from nbdeploy.runtime.records import line
from nbdeploy.watch.labels import of_frame
from nbdeploy.watch.live import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from nbdeploy.run.feedback import Feedback
    from nbdeploy.run.predictions import Predictions
    from nbdeploy.watch.baseline import Baseline
    from nbdeploy.watch.live import Live


START = datetime(2026, 1, 1, tzinfo=UTC)

_numbers = itertools.count()


def write(folder: Path, *requests: dict[str, Any]) -> None:
    """Requests with `predictions`; what they leave out is filled in."""
    lines = []
    for request in requests:
        filled = {
            "request_id": "r", "time": START.timestamp(), "milliseconds": 1.0, "version": "1.0.0", "schema": "s",
            "method": "predict", "status": 200, "rows": [{"x": 1.0}] * len(request.get("predictions", ())),
        } | request  # fmt: skip
        lines.append(line(json.dumps(filled).encode()))
    (folder / f"{next(_numbers):016d}-1.log").write_bytes(b"".join(lines))


def say(feedback: Feedback, table: Any, on: str = "request_id") -> None:
    feedback.add(of_frame(pd.DataFrame(table), on))


def live(
    predictions: Predictions,
    feedback: Feedback,
    task: str,
    *,
    every: timedelta | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    classes: Sequence[Any] = (),
) -> Live:
    log = Log(feedback.frame(), every, baselines)
    for piece in predictions.pieces():
        log.read(piece)
    return log.live(task, classes=classes)
