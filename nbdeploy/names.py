"""Names of services: what is allowed, and what a variable's name becomes."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from nbdeploy.errors import BadName, WrongUse, an

if TYPE_CHECKING:
    from collections.abc import Mapping

PATTERN = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
# BentoML's own word, and device names of Windows, where a folder of that name cannot be made.
RESERVED = frozenset(
    {"latest", "con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)


def checked(name: str) -> str:
    """The name itself.

    Raises:
        BadName: with the rule and the nearest name that keeps it.
    """
    if not isinstance(name, str):
        raise WrongUse(f'A name is a text like "penguins"; {an(type(name).__name__)} was given.')
    if not PATTERN.fullmatch(name) or name in RESERVED:
        raise BadName(name, nearest(name))
    return name


def nearest(text: str) -> str:
    """What is allowed of the text; "" where that is no name."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    found = re.sub("[^a-z0-9_]+", "-", plain).strip("-_")[:63].strip("-_")
    return "" if found in RESERVED else found


def from_variable(variable: str) -> str:
    """A service's default name: `Churn_Model` -> `churn_model`, `_clf_` -> `clf`.

    Raises:
        BadName: when nothing usable is left.
    """
    name = variable.lower().strip("_")
    try:
        return checked(name)
    except BadName as exc:
        raise BadName(name, exc.near, " Give one with --name.") from None


def variable_of(value: object, namespace: Mapping[str, object]) -> str | None:
    """The variable that holds this very object; the first of them that is not IPython's own (`_`, `_3`, `Out`)."""
    return next((name for name, held in namespace.items() if held is value and not name.startswith("_")), None)
