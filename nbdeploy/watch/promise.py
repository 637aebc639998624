"""`Promise`: what a version's metrics were before it went live, to hold what it does now against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbdeploy.judge.estimate import Estimate
from nbdeploy.keep import store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.keep.registry import Registry

GATE, TRAINING = "at its gate", "in training, on rows it knew"


@dataclass(frozen=True)
class Promise:
    """`of` says where: its gate, or, in want of one, its own sample, which flatters."""

    of: str = ""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)


def of(registry: Registry, name: str, version: str) -> Promise:
    details = store.details(registry, name, version)
    if isinstance(details.report, dict):
        records = details.report.get("metrics", {})
        return Promise(GATE, {key: _estimate(record) for key, record in records.items() if "@" not in key})
    values = details.manifest.metrics.get("training", {}).get("values", {})
    return Promise(TRAINING, {key: Estimate(float(value)) for key, value in values.items()})


def _estimate(record: Mapping[str, float]) -> Estimate:
    return Estimate(float(record["value"]), record.get("low"), record.get("high"))
