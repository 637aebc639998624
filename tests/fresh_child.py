"""Runs under `python -I`: for each folder named on standard input, load its model in a fork and compare its answers.

A folder holds captured/ (goes on sys.path), model.pkl, rows.pkl and answers.pkl: {method: what the kernel's model said}.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing  # noqa: F401 - as above


def runtime_package() -> types.ModuleType:
    """What a bundle holds under this name."""
    package = types.ModuleType("nbdeploy_runtime")
    package.__path__ = [str(Path(__file__).parents[1] / "nbdeploy" / "runtime")]
    return package


def compare(folder: Path) -> dict[str, Any]:
    captured = folder / "captured"
    sys.path.insert(0, str(captured))
    sys.modules["nbdeploy_runtime"] = runtime_package()
    rows, answers = (pickle.loads((folder / f"{name}.pkl").read_bytes()) for name in ("rows", "answers"))
    os.chdir("/")
    model = pickle.loads((folder / "model.pkl").read_bytes())
    if "__main__" in {type(step).__module__ for step in getattr(model, "__dict__", {}).values()}:
        return {"same": False, "error": "refers to __main__"}
    for method, expected in answers.items():
        answer = getattr(model, method)(rows)
        if type(answer) is not type(expected):
            return {"same": False, "error": f"{method}: {type(answer)} instead of {type(expected)}"}
        if isinstance(expected, pd.DataFrame | pd.Series):
            same = answer.equals(expected)
        else:
            given, wanted = np.asarray(answer), np.asarray(expected)
            same = given.dtype == wanted.dtype and np.array_equal(given, wanted, equal_nan=wanted.dtype.kind == "f")
        if not same:
            return {"same": False, "error": f"{method}: {str(answer)[:200]} instead of {str(expected)[:200]}"}
    return {"same": True, "error": "", "methods": list(answers)}


def in_fork(folder: Path) -> str:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            found = compare(folder)
        except BaseException:  # noqa: BLE001 - the parent is told, whatever it is
            found = {"same": False, "error": traceback.format_exc()}
        os.write(writer, json.dumps(found).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer.decode() or json.dumps({"same": False, "error": "the interpreter died"})


if __name__ == "__main__":
    for line in sys.stdin:
        print(in_fork(Path(json.loads(line))), flush=True)
