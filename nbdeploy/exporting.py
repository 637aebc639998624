"""`export`: a version as something that works elsewhere, or what another program needs to watch it; one kind at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from nbdeploy.keep.registry import Registry
    from nbdeploy.run.scrape import Scrape
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What is asked for: a version, the live one by default, at one of `places`; `image` is the reference manifests name."""

    name: str
    version: str | None
    places: Mapping[str, str | os.PathLike[str] | None]
    image: str | None = None


def export(settings: Settings, registry: Registry, wish: Wish, progress: Progress) -> Path | Scrape:
    """Write the version to the one of the places that is named: "file", "offline", "kubernetes", "compose", "prometheus".

    Raises:
        WrongUse: none of them, or several; an image where no manifest names one; a version where all are meant.
    """
    kind, place = _only(wish)
    if kind == "file":
        from nbdeploy.keep import archive

        return archive.export(registry, wish.name, wish.version, place)
    if kind == "prometheus":
        return _scrape(settings, wish, place)
    version = registry.get(wish.name, wish.version)
    if kind == "offline":
        from nbdeploy.keep.store import handed_on
        from nbdeploy.run.leavebehind import leave_behind

        with handed_on(registry, version) as whole:
            return leave_behind(whole, place, settings, progress)
    from nbdeploy.run import compose, kubernetes

    write = {"kubernetes": kubernetes.write, "compose": compose.write}[kind]
    return write(version, place, wish.image, settings, progress)


def _scrape(settings: Settings, wish: Wish, place: Path) -> Scrape:
    from nbdeploy.run.scrape import scrape

    if wish.version is not None:
        raise WrongUse(f"Prometheus scrapes whichever version serves: export {wish.name} --prometheus {place}")
    return scrape(wish.name, settings.services / wish.name, place)


IMAGED = ("kubernetes", "compose")  # what names an image


def _only(wish: Wish) -> tuple[str, Path]:
    given = {kind: Path(place) for kind, place in wish.places.items() if place is not None}
    if len(given) != 1:
        words = ["FILE.bento", *(f"--{kind} DIR" for kind in wish.places if kind != "file")]
        fact = "writes to one place at a time" if given else "needs a place to write to"
        example = f"as in export {wish.name} {wish.name}.bento"
        raise WrongUse(f"export {fact}: export {wish.name} {' | '.join(words)}, {example}")
    kind, place = next(iter(given.items()))
    if wish.image is not None and kind not in IMAGED:
        raise WrongUse(f"--image belongs to {' and '.join(f'--{word} DIR' for word in IMAGED)}; leave it out here.")
    return kind, place
