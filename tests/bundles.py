"""Bundle folders as small as they can be, and comparisons to the last bit."""

from __future__ import annotations

import json
import pickle
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nbdeploy.runtime import answers, tables
from nbdeploy.runtime.manifest import FORMAT, Manifest, Schema, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.capture.golden import Observed


def write_src(src: Path, model: Any, observed: Observed) -> Manifest:
    """A bundle's src folder without captured code and runtime."""
    src.mkdir(parents=True)
    (src / "model.pkl").write_bytes(pickle.dumps(model))
    (src / "golden.json").write_text(json.dumps(observed.golden, allow_nan=False))
    manifest = Manifest(
        format=FORMAT,
        name="tried",
        title="tried",
        model={"class": type(model).__name__},
        methods=observed.methods,
        schema=observed.schema,
        artefact="model.pkl",
        environment={"python": platform.python_version(), "requirements": []},
        code={},
        files={name: digest_of(src / name) for name in ("model.pkl", "golden.json")},
        digest="",
        created="2026-01-01T00:00:00Z",
    )
    manifest = replace(manifest, digest=manifest.computed_digest())
    (src / "manifest.json").write_bytes(manifest.dumps())
    return manifest


def body_of(schema: Schema, data: Any) -> bytes:
    return answers.dumps({"rows": tables.rows_of(schema, data)})


def assert_identical(expected: Any, found: Any) -> None:
    """Type, shape, dtype, labels and values; floats that were summed in another order may differ in their last digits."""
    assert type(found) is type(expected), f"a {type(found).__name__} for a {type(expected).__name__}"
    if hasattr(expected, "toarray"):
        assert found.format == expected.format
        assert_identical(expected.toarray(), found.toarray())
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, f"dtype {found.dtype} for {expected.dtype}"
        assert found.shape == expected.shape, f"shape {found.shape} for {expected.shape}"
        if expected.dtype.kind == "f":
            assert np.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True), "other numbers"
        else:
            assert found.tolist() == expected.tolist(), "other values"
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-12)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected, rtol=1e-9, atol=1e-12)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(expected, found, strict=True):
            assert_identical(one, other)
    else:
        assert found == expected or (found != found and expected != expected)  # noqa: PLR0124  # both NaN
