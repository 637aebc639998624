"""Closed segments of a prediction log, written as a worker would have."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head, line

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema(
    "frame",
    (
        Column("count", "integer", "int64"),
        Column("height, m", "number", "float64"),
        Column('it\'s "new"', "boolean", "bool"),
        Column("said", "text", "str"),
        Column("island", "category", "str"),
        Column("thing", "any", "object"),
        Column("when", "datetime", "datetime64[us]"),
    ),
    keys=("order", "Order no."),
)


def written(folder: Path, found: list[dict[str, Any]], *, says: bool = True) -> Path:
    """A closed segment; with `says` its head tells of its columns, as our runtime's do."""
    policy = Policy()
    start = head("abc", policy, policy.kinds(SCHEMA), SCHEMA.keys) if says else b""
    path = folder / f"{len(list(folder.glob('*.log'))):016d}-7.log"
    path.write_bytes(start + b"".join(line(json.dumps(one).encode()) for one in found))
    return path


def small(**changed: Any) -> dict[str, Any]:
    row = {"count": 1, "height, m": 2.5, 'it\'s "new"': True, "said": "a", "island": "Dream", "thing": 1, "when": None}
    start = {"time": 1_700_000_000.25, "request_id": "id", "milliseconds": 1.5, "version": "1.0.0", "schema": "abc"}
    return {**start, "method": "predict", "status": 200, "rows": [row], "predictions": ["yes"], **changed}


def occupy(kind: str, path: Path, host: Path) -> None:
    """Something else is where a file should be."""
    if kind == "link":
        path.symlink_to(host)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


def same(a: Any, b: Any) -> bool:
    if a is None or b is None or a != a or b != b:  # noqa: PLR0124  # NaN
        return (a is None or a != a) and (b is None or b != b)  # noqa: PLR0124
    if isinstance(a, str) and isinstance(b, float):
        return a in {"Infinity", "-Infinity"} and float(a) == b
    return bool(a == b) and (isinstance(a, bool) == isinstance(b, bool))
