"""The metrics we know: which way is better, in which unit, under which title.

A name may carry a slice (`accuracy@island=Dream`) and a prefix (`live.accuracy`): the same metric, said of other rows or
of the live version.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """`greater_is_better` is None where neither is: a count of rows, say."""

    name: str
    title: str
    greater_is_better: bool | None
    unit: str = ""


def metric(name: str) -> Metric | None:
    """The metric a record's name speaks of, or None for one of the user's own."""
    return METRICS.get(bare(name))


def bare(name: str) -> str:
    """The metric's own name: `live.accuracy@island=Dream` is `accuracy`."""
    return name.partition("@")[0].removeprefix("live.")


_HIGHER = {
    "accuracy": "Accuracy",
    "precision_macro": "Precision (macro)",
    "precision_weighted": "Precision (weighted)",
    "recall_macro": "Recall (macro)",
    "recall_weighted": "Recall (weighted)",
    "f1_macro": "F1 (macro)",
    "f1_weighted": "F1 (weighted)",
    "roc_auc": "ROC AUC",
    "r2": "R²",
    "silhouette": "Silhouette",
    "calinski_harabasz": "Calinski-Harabasz index",
    "adjusted_rand": "Adjusted Rand index",
    "balanced_accuracy": "Balanced accuracy",
    "average_precision": "Average precision",
}
_LOWER = {
    "log_loss": ("Log loss", ""),
    "brier": ("Brier score", ""),
    "calibration_error": ("Expected calibration error", ""),
    "mae": ("Mean absolute error", "target"),
    "mse": ("Mean squared error", "target²"),
    "rmse": ("Root mean squared error", "target"),
    "mape": ("Mean absolute percentage error", ""),
    "davies_bouldin": ("Davies-Bouldin index", ""),
    "latency_p50_ms": ("Latency, median", "ms"),
    "latency_p95_ms": ("Latency, 95th percentile", "ms"),
    "latency_p99_ms": ("Latency, 99th percentile", "ms"),
    "rows_refused": ("Rows without an answer", "rows"),
    "rows_unlabelled": ("Rows without a label", "rows"),
    "duplicates": ("Duplicate rows", "rows"),
    "contradictions": ("Equal rows with another label", "rows"),
    "missing_cells": ("Missing values", "cells"),
    "out_of_range": ("Values outside the range seen in training", "cells"),
    "unseen_categories": ("Values not seen in training", "cells"),
    "leaks": ("Columns that give the target away", "columns"),
    "broken_promises": ("Answers not as the schema promises", "cases"),
}
_NEITHER = {
    "rows": ("Rows", "rows"),
    "clusters": ("Clusters", "clusters"),
    "largest_cluster": ("Share of the largest cluster", ""),
    "flips": ("Rows answered otherwise than by the live version", "rows"),
    "challenge_p": ("p-value of the comparison with the live version", ""),
}

METRICS: dict[str, Metric] = {
    **{name: Metric(name, title, greater_is_better=True) for name, title in _HIGHER.items()},
    **{name: Metric(name, title, greater_is_better=False, unit=unit) for name, (title, unit) in _LOWER.items()},
    **{name: Metric(name, title, greater_is_better=None, unit=unit) for name, (title, unit) in _NEITHER.items()},
}

# What the validation notebook of each task records as a number; a test holds it against what they say.
_ALL = {
    "rows", "rows_refused", "rows_unlabelled", "missing_cells", "out_of_range", "unseen_categories", "duplicates",
    "broken_promises", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "challenge_p",
}  # fmt: skip
_LABELLED = _ALL | {"contradictions", "leaks"}
RECORDED: dict[str, frozenset[str]] = {
    "classification": frozenset({
        *_LABELLED, "accuracy", "precision_macro", "precision_weighted", "recall_macro", "recall_weighted", "f1_macro",
        "f1_weighted", "roc_auc", "log_loss", "brier", "calibration_error", "flips", "labels",
    }),
    "regression": frozenset({*_LABELLED, "mae", "mse", "rmse", "r2", "mape", "bias", "largest_error"}),
    "unsupervised": frozenset({
        *_ALL, "silhouette", "calinski_harabasz", "davies_bouldin", "clusters", "largest_cluster",
    }),
}  # fmt: skip
