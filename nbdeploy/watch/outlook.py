"""`Outlook`: how good the answers probably are without labels, per version and along the time axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse
from nbdeploy.watch.calibrator import Calibrator
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.expected import Expected, expected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.judge.estimate import Estimate
    from nbdeploy.watch.served import Served

WINDOW = 300  # answers of a window that are used, spread evenly over those kept: an interval a little wider, in time
WHOLE = 5_000
CORRECTING = 1_000  # labelled rows a correction is learnt from
UNASKED = NotComputable("no request asked for probabilities (predict_proba)")
NO_CLASSES = NotComputable("only a classifier with predict_proba says how sure it is")


@dataclass(frozen=True)
class Outlook:
    """`versions` are over the whole span; `windows` by place: of several versions in one, the last."""

    versions: Mapping[str, Expected | NotComputable] = field(default_factory=dict)
    windows: Mapping[int, Mapping[str, Estimate | NotComputable]] = field(default_factory=dict)


def outlook(
    served: Mapping[str, Served],
    labelled: pd.DataFrame | None = None,
    drifted: Mapping[str, Collection[int]] | None = None,
) -> Outlook:
    """`labelled`: rows with `time`, `version`, `prediction` and `label`; where a version has enough of them, its
    probabilities are corrected by them. Rows of windows that `drifted`, by version, are unlike the others and teach
    nothing about them.
    """
    versions: dict[str, Expected | NotComputable] = {}
    windows: dict[int, Mapping[str, Estimate | NotComputable]] = {}
    for version, one in served.items():
        shares = one.shares()
        if len(one.baseline.labels) < 2 or not len(shares):
            versions[version] = NO_CLASSES if len(one.baseline.labels) < 2 else UNASKED
            continue
        calibrator = None
        if labelled is not None and len(labelled):
            own = labelled[labelled["version"] == version]
            places = one.axis.places(own["time"])
            calibrator = _calibrator(own[~np.isin(places, list((drifted or {}).get(version, ())))], one)
        versions[version] = expected(_spread(shares, WHOLE), calibrator)
        for place in one.sampled:
            windows[place] = expected(_spread(one.shares([place]), WINDOW), calibrator).metrics
    return Outlook(versions, windows)


def _spread(rows: NDArray[Any], most: int) -> NDArray[Any]:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _calibrator(labelled: pd.DataFrame, served: Served) -> Calibrator | None:
    """None where there are too few labelled probabilities, or only one label among them."""
    texts = list(served.baseline.labels)
    known = {text: place for place, text in enumerate(texts)}
    pairs = [
        ([answer.get(text) for text in texts], known[str(label)])
        for answer, label in zip(labelled["prediction"], labelled["label"], strict=True)
        if isinstance(answer, dict) and str(label) in known
    ]
    shares: Any = np.array([pair[0] for pair in pairs], dtype=np.float64).reshape(len(pairs), len(texts))
    truth = np.array([pair[1] for pair in pairs], dtype=np.intp)
    whole = np.isfinite(shares).all(axis=1)
    try:
        return Calibrator.fit(_spread(shares[whole], CORRECTING), _spread(truth[whole], CORRECTING))
    except WrongUse:
        return None
