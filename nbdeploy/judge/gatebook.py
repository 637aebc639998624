"""A gate notebook: what its parameters cell declares, and one run of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbdeploy.judge.records import Records
    from nbdeploy.settings import Settings

DONE = "done"


@dataclass(frozen=True)
class Parameter:
    """`default` is None where it is no literal; then `literal` is False and a text stays a text."""

    name: str
    default: Any
    literal: bool = True


@dataclass(frozen=True)
class Gatebook:
    """`digest` is of the file's bytes, "sha256:..."."""

    path: Path
    digest: str
    parameters: tuple[Parameter, ...]
    node: Any

    def given(self, ours: Mapping[str, Any], users: Mapping[str, Any]) -> dict[str, Any]:
        """What the notebook is run with: those of `ours` it declares, and the user's, each as the type of its default.

        Raises:
            WrongUse: one of the user's is not declared, or is not of its default's type.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Executed:
    """`ended` is "done", or how it ended instead, in words."""

    notebook: Path
    records: Records
    ended: str
    seconds: float


def read(path: Path) -> Gatebook:
    """Raises NotFound, and WrongUse where the file is no notebook or not of Python."""
    raise NotImplementedError


def run(
    book: Gatebook,
    parameters: Mapping[str, Any],
    *,
    folder: Path,
    settings: Settings,
    progress: Callable[[str], None],
) -> Executed:
    """Run it to its end, whatever that is, and keep `executed.ipynb` in `folder`, and `out/` if it declares `out`."""
    raise NotImplementedError
