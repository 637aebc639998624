"""Names of services: what is allowed, and what a variable's name becomes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nbdeploy.errors import BadName

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
        BadName: with the rule and the option that gives another.
    """
    if not isinstance(name, str) or not PATTERN.fullmatch(name) or name in RESERVED:
        raise BadName(str(name))
    return name


def from_variable(variable: str) -> str:
    """A service's default name: `Churn_Model` -> `churn_model`, `_clf_` -> `clf`.

    Raises:
        BadName: when nothing usable is left.
    """
    return checked(variable.lower().strip("_"))


def variable_of(value: object, namespace: Mapping[str, object]) -> str | None:
    """The variable that holds this very object; the first of them that is not IPython's own (`_`, `_3`, `Out`)."""
    return next((name for name, held in namespace.items() if held is value and not name.startswith("_")), None)
