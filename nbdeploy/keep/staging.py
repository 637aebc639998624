"""The place beside the BentoML store where a version is made before it appears there in one rename.

BENTOML_HOME/.nbdeploy/staging/ID/ holds `bundle/`, and once a number is issued `target`: name, version, digest. It lies beside
`bentos/`, on its file system, because BentoML takes any folder inside `bentos/` for a Bento and fails on half a one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.homes import sync_folder, write_whole
from nbdeploy.keep.bento import labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.keep.registry import View


class Store:
    """Where things lie in a BentoML home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bentos = home / "bentos"
        self.staging = home / ".nbdeploy" / "staging"
        self.quarantine = home / ".nbdeploy" / "quarantine"

    def bundle(self, name: str, version: str) -> Path:
        return self.bentos / name / version

    @contextmanager
    def workplace(self) -> Iterator[Workplace]:
        """A staging folder of one's own, gone afterwards."""
        with self._lock(shared=True):
            folder = Path(tempfile.mkdtemp(prefix="", dir=self.staging))
            try:
                yield Workplace(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Remove what crashed processes left in staging; nothing while somebody works there."""
        try:
            with self._lock(shared=False):
                left = [path for path in self.staging.iterdir() if path.is_dir()]
                for path in left:
                    shutil.rmtree(path)
                return [path.name for path in left]
        except BlockingIOError:
            return []

    def undo_unfinished(self, view: View) -> list[str]:
        """Remove folders that were renamed into the store by a process that died before its commit.

        To be called inside the registry's write transaction: then nobody else is between the two.
        """
        undone = []
        for work in self.staging.iterdir() if self.staging.is_dir() else ():
            target = Workplace(work).target()
            if target is None:
                continue
            name, version, digest = target
            folder = self.bundle(name, version)
            if version not in view.issued(name) and labels(folder).get("digest") == digest:
                self.discard(folder)
                undone.append(f"{name}:{version}")
            (work / "target").unlink(missing_ok=True)
        return undone

    def discard(self, folder: Path) -> None:
        """Take a folder out of the store in one step, then delete it."""
        with self._lock(shared=True):  # nobody sweeps the grave away before it is filled
            grave = Path(tempfile.mkdtemp(prefix="gone-", dir=self.staging))
            folder.rename(grave / "bundle")
            shutil.rmtree(grave, ignore_errors=True)
        self.tidy(folder.parent.name)

    def isolate(self, folder: Path, label: str) -> Path:
        """Move a bad folder out of the store, kept for a human to look at."""
        self.quarantine.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"{label}-", dir=self.quarantine))
        folder.rename(place / folder.name)
        self.tidy(folder.parent.name)
        return place / folder.name

    def point_latest(self, name: str, version: str) -> None:
        """BentoML's own pointer, which `bentoml serve NAME` follows."""
        write_whole(self.bentos / name / "latest", version.encode())

    def tidy(self, name: str, *, latest: bool = False) -> None:
        """`latest` names a version there is (with `latest`, the highest); an empty name goes."""
        folder = self.bentos / name
        if not folder.is_dir():
            return
        left = [path.name for path in folder.iterdir() if path.is_dir()]
        pointer = folder / "latest"
        if not left:
            pointer.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else's file lies there, or just arrived
                folder.rmdir()
        elif latest or not pointer.is_file() or pointer.read_text(encoding="utf-8").strip() not in left:
            self.point_latest(name, max(left, key=_order))

    @contextmanager
    def _lock(self, *, shared: bool) -> Iterator[None]:
        """Raises BlockingIOError where the exclusive lock is not to be had at once."""
        import fcntl

        self.staging.mkdir(parents=True, exist_ok=True)
        with (self.staging / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


def _order(version: str) -> tuple[Any, ...]:
    """By numbers where there are some: 1.10.0 after 1.9.0."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in version.split("."))


class Workplace:
    """One folder under staging."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"

    def target(self) -> tuple[str, str, str] | None:
        try:
            name, version, digest = json.loads((self.folder / "target").read_bytes())
        except (OSError, ValueError):  # none was issued, or the writer died in the middle of it
            return None
        return name, version, digest

    def aim(self, name: str, version: str, digest: str) -> None:
        """Say on disk where the bundle is about to go."""
        write_whole(self.folder / "target", json.dumps([name, version, digest]).encode())


def link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file systems differ or know no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def sync_tree(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        sync_folder(path)
