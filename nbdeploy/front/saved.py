"""A saved model file and data files, as the command line names them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from nbdeploy import parquet
from nbdeploy.errors import CannotTravel, NotFound, UnsupportedData, WrongUse

MODELS = (".pkl", ".pickle", ".joblib")
TABLES = (".csv", ".parquet")


def load_model(path: Path, *, trust: bool) -> Any:
    """The object in a pickle or joblib file.

    Raises:
        WrongUse: without `trust`, since loading runs what the file says.
    """
    if not path.is_file():
        raise NotFound("model file", str(path))
    if not trust:
        raise WrongUse(
            f"{path} is a pickle, and loading one runs the code in it. If you trust its origin, add --trust."
        )
    import joblib

    try:
        return joblib.load(path)  # reads plain pickles too, and people save with joblib under either name
    except (ImportError, AttributeError) as exc:
        raise CannotTravel(
            str(path),
            f"refers to code this interpreter does not have ({exc})",
            "deploy it from the notebook that made it",
        ) from exc
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError) as exc:
        raise UnsupportedData(str(path), f"cannot be loaded ({exc})", "save the model again") from exc


def read_table(text: str) -> Any:
    """The frame in a CSV or Parquet file."""
    path = Path(text)
    if not path.is_file():
        raise NotFound("data file", text)
    if path.suffix not in TABLES:
        raise UnsupportedData(text, "is neither CSV nor Parquet", f"give a file ending in {' or '.join(TABLES)}")
    return parquet.frame(path) if path.suffix == ".parquet" else _csv(path)


def read_target(text: str, sample: Any) -> Any:
    """The labels in a file, or the name of their column in the sample."""
    if text in sample.columns and not Path(text).is_file():
        return text
    frame = read_table(text)
    return frame.iloc[:, 0] if frame.shape[1] == 1 else frame


def _csv(path: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as exc:  # pandas' parser errors are ValueErrors
        raise UnsupportedData(str(path), f"cannot be read as CSV ({exc})", "mend the file") from exc
