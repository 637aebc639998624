"""What `bentoml serve NAME:VERSION` loads: `nbdeploy_runtime.service:ModelService`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bento import define, own_app
from .manifest import FILE

SRC = Path(__file__).parents[1]

if (SRC / FILE).is_file():  # so inside a bundle; nbdeploy's own copy of this module serves nothing
    ModelService = define(SRC)


def bentoml_app() -> Any:
    """BentoML's own app, for what the gate lets through to it; built once in a process."""
    return own_app(SRC)
