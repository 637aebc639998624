"""In the kernel of a notebook that is run again, at its end: bundle what the version was bundled from."""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = "NBDEPLOY_AGAIN"  # an environment variable: the sandbox
REQUEST = "again.json"
CELL = '__import__("nbdeploy.judge.rerun", fromlist=["bundle"]).bundle(globals())'


def bundle(namespace: dict[str, Any]) -> None:
    """Stage the request's expressions, evaluated as the user's own line would be."""
    from nbdeploy.capture import notebook
    from nbdeploy.capture.bundle import Model, stage
    from nbdeploy.runtime.function import Function
    from nbdeploy.settings import Settings

    request = json.loads((Path(os.environ[FOLDER]) / REQUEST).read_text(encoding="utf-8"))
    found = {
        part: eval(request[part], namespace)  # noqa: S307 - the words of a version whose code is trusted, in a notebook of its own
        for part in ("model", "sample", "target")
        if part in request
    }
    model = Function(found["model"]) if inspect.isfunction(found["model"]) else found["model"]
    given = Model(
        model,
        request["name"],
        found["sample"],
        found.get("target"),
        tuple(request.get("keys", ())),
        request.get("real_rows", True),
    )
    made = stage(given, Settings.load().bundles, notebook.current_shell())
    print(f"bundled {made.reference}", file=sys.stderr)  # noqa: T201 - what a headless run says goes to stderr
