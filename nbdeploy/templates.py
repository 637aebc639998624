"""Finds what becomes part of a bundle or of a user's repository: `templates/` of a checkout, or its copy in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def template(name: str) -> Path:
    """The file or folder of that name under templates/."""
    for folder in (_PACKAGE / "_templates", _PACKAGE.parent / "templates"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"nbdeploy's template {name} is missing: the installation is incomplete")
