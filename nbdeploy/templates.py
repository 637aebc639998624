"""Finds what becomes part of a bundle or of a user's repository: `templates/` of a checkout, or its copy in a wheel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = Path(__file__).parent


def template(name: str) -> Path:
    """The file or folder of that name under templates/.

    Raises:
        NotFound: there is none of that name.
        Corrupt: the installation came without its templates.
    """
    home = templates()
    path = home / name
    if not path.resolve().is_relative_to(home.resolve()) or not path.exists():
        raise NotFound("template", name, sorted(item.name for item in home.iterdir()))
    return path


def templates() -> Path:
    """The folder itself: of the wheel, else of the checkout an editable install points to."""
    for folder in (_PACKAGE / "_templates", _PACKAGE.parent / "templates"):
        if folder.is_dir():
            return folder
    raise Corrupt(
        "nbdeploy", f"{_PACKAGE / '_templates'} is missing", "install it again: pip install --force-reinstall nbdeploy"
    )


def filled(text: str, words: Mapping[str, str]) -> str:
    """With each of `words` (@NAME@) replaced, all at once: what a value holds is not looked at again."""
    return re.sub("|".join(words), lambda found: words[found[0]], text)
