"""`export`: a version as something that works elsewhere, one of several kinds at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from nbdeploy.keep.registry import Registry
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]
    Places = Mapping[str, str | os.PathLike[str] | None]


def export(
    settings: Settings, registry: Registry, asked: tuple[str, str | None], places: Places, progress: Progress
) -> Path:
    """Write the version `asked` for, the live one by default, to the one of `places` ("file", "offline") that is named.

    Raises:
        WrongUse: none of them, or several.
    """
    kind, place = _only(asked[0], places)
    if kind == "file":
        from nbdeploy.keep import archive

        return archive.export(registry, *asked, place)
    from nbdeploy.run.leavebehind import leave_behind

    return leave_behind(registry.get(*asked), place, settings, progress)


def _only(name: str, places: Places) -> tuple[str, Path]:
    given = {kind: Path(place) for kind, place in places.items() if place is not None}
    words = ["FILE.bento", *(f"--{kind} DIR" for kind in places if kind != "file")]
    if len(given) == 1:
        return next(iter(given.items()))
    fact = "needs a place to write to" if not given else "writes to one place at a time"
    raise WrongUse(f"export {fact}: export {name} {' | '.join(words)}, as in export {name} {name}.bento")
