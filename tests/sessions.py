"""A notebook in a real kernel, and what becomes of its model in a fresh interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels import Fresh, Kernel

PIPELINE = "model = make_pipeline(FunctionTransformer({0}), LogisticRegression()).fit(N, y)"
PRELUDE = """
import sys, json, pickle
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
rng = np.random.default_rng(0)
X = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40) + 1, "k": rng.choice(["x", "y"], size=40)})
N = X[["a", "b"]].to_numpy()
y = np.where(X["a"] + X["b"] > 1, "big", "small")
"""

CAPTURE = """
def _capture(model, rows, folder):
    from nbdeploy.capture.code import capture_model
    from nbdeploy.errors import CannotTravel
    folder = Path(folder)
    try:
        found = capture_model(model)
    except CannotTravel as refused:
        return {"refused": str(refused), "path": refused.path, "cell": refused.cell}
    for name, content in found.files.items():
        path = folder / "captured" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    answers = {}
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(model, method):
            answers[method] = getattr(model, method)(rows)
    for name, content in {"model": found.pickle, "rows": pickle.dumps(rows), "answers": pickle.dumps(answers)}.items():
        (folder / f"{name}.pkl").write_bytes(content)
    return {
        "text": found.files.get("notebook_code.py", b"").decode(), "files": sorted(found.files),
        "warnings": list(found.warnings), "by": sorted({each.by for each in found.definitions}),
        "definitions": {each.name: each.cell for each in found.definitions}, "modules": sorted(found.modules),
        "same_minor": found.same_minor, "data": found.data, "local": found.local_modules,
    }
"""


def cases(outcome: str) -> dict[str, list[str]]:
    """Cells that end in `model`, by case, of capture_cases/OUTCOME.txt: "## case", then "# %%" before each cell."""
    text = Path(__file__).with_name("capture_cases").joinpath(f"{outcome}.txt").read_text(encoding="utf-8")
    found = {}
    for part in text.removeprefix("## ").split("\n## "):
        name, *cells = part.split("\n# %%\n")
        found[name] = [cell.rstrip("\n") for cell in cells]
    return found


class Session:
    """A kernel with an empty namespace, the prelude run; `capture` says what came of it."""

    def __init__(self, kernel: Kernel, fresh: Fresh, folder: Path) -> None:
        self.kernel, self.fresh, self.folder = kernel, fresh, folder
        kernel.run("%reset -f")
        kernel.run("import os, sys; _before = set(sys.modules)")
        kernel.run(PRELUDE)
        kernel.run(f"os.chdir({str(folder)!r}); sys.path.insert(0, {str(folder)!r})")

    def cells(self, *cells: str) -> list[int]:
        """Run cells; gives their numbers."""
        return [self.kernel.run(cell).number for cell in cells]

    def capture(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        self.kernel.run(CAPTURE)
        out = self.folder / "bundle"
        out.mkdir(exist_ok=True)
        shown = self.kernel.run(
            f"print('\\x02' + json.dumps(_capture({model}, {rows}, {str(out)!r}), default=str))"
        ).text
        return dict(json.loads(shown.rpartition("\x02")[2]))

    def travels(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        """Captured, loaded in a fresh interpreter, the same answers."""
        found = self.capture(model, rows)
        assert "refused" not in found, found
        answer = self.fresh.answer(self.folder / "bundle")
        assert answer["same"], f"{answer['error']}\n{found['text']}\n{found['warnings']}"
        assert answer["methods"]
        return found

    def readable(self, model: str = "model", rows: str = "N") -> dict[str, Any]:
        """It travels as source, without a warning."""
        found = self.travels(model, rows)
        assert not found["warnings"]
        assert found["by"] in (["source"], [])
        assert not found["same_minor"]
        return found
