"""The wheels of a lock, each by its hash, for a machine that reaches no index.

They are kept under `NBDEPLOY_HOME/wheels` by name, with a list for each lock, so that the next version of the same lock asks
no index at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

from nbdeploy.homes import private, write_whole
from nbdeploy.keep.bento import requirements_text
from nbdeploy.run import installers
from nbdeploy.runtime.environment import canonical, minor
from nbdeploy.runtime.manifest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings

INSTALLER = "pip"  # a wheel of it comes along: the other machine's Python may lack its own
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)")
_OLD_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


@dataclass(frozen=True)
class Wheels:
    """`files`: the wheels' names and their "sha256:...", all in `folder`; `installer` is that of pip, not part of the lock."""

    folder: Path
    files: Mapping[str, str]
    installer: str

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in sorted(self.files)]

    def requirements(self) -> str:
        """The lock as pip reads it with --require-hashes; every line is made of a wheel's own name."""
        locked = sorted((name for name in self.files if name != self.installer), key=str.lower)
        return "".join(f"{_pin(name)} --hash={self.files[name]}\n" for name in locked)

    @property
    def unpacked(self) -> int:
        """Bytes they take once installed."""
        return sum(item.file_size for path in self.paths for item in _members(path))

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The oldest GNU C library that all of them run on; None where they ask for none."""
        asked = [needed for name in self.files if (needed := _glibc_of(name)) is not None]
        return max(asked, default=None)


def wheels_for(manifest: Manifest, settings: Settings, progress: Callable[[str], None]) -> Wheels:
    """Those of the bundle's lock, for its Python and this platform, and one of pip.

    Raises:
        EnvironmentFailed: no index has them, or one that must be built cannot be; Corrupt: the lock is no plain one.
    """
    lines = requirements_text(manifest).splitlines()
    python = minor(str(manifest.environment["python"]))
    home = private(settings.home / "wheels")
    text = "\n".join([f"python {python}", *lines])
    listing = home / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    found = _kept(home, listing)
    if found is None:
        progress(f"fetching the wheels of {len(lines)} packages; the next version of the same packages finds them")
        found = _fetched(home, lines, python, installers.Runner(progress))
        write_whole(listing, json.dumps({"files": dict(found.files), "installer": found.installer}).encode(), 0o600)
    return found


def _kept(home: Path, listing: Path) -> Wheels | None:
    """Those of an earlier time, if every one of them is still what it was."""
    try:
        raw = json.loads(listing.read_bytes())
        found = Wheels(home, dict(raw["files"]), str(raw["installer"]))
        whole = all(digest_of(home / name) == digest for name, digest in found.files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if whole else None


def _fetched(home: Path, lines: Sequence[str], python: str, run: installers.Runner) -> Wheels:
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=home) as draft:
        folder = Path(draft, "wheels")
        folder.mkdir()
        lock = Path(draft, "lock.txt")
        lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        base = installers.find_python(python, run)
        options = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--wheel-dir", str(folder)]
        pip = [*_pip(Path(draft, "tool"), run), "--python", str(base)]
        for wanted in (["--requirement", str(lock)], [INSTALLER]):
            run.output([*pip, "wheel", *options, *wanted], folder)
        files = {path.name: digest_of(path) for path in sorted(folder.glob("*.whl"))}
        for name in files:
            shutil.move(folder / name, home / name)
    return Wheels(home, files, next(name for name in files if _named(name) == INSTALLER))


def _pip(folder: Path, run: installers.Runner) -> list[str]:
    """This interpreter's, or one in an environment made for it: uv makes environments without."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    run.output([sys.executable, "-m", "venv", str(folder)], folder)
    return [str(installers.python_of(folder)), "-m", "pip"]


def _named(wheel: str) -> str:
    return canonical(wheel.partition("-")[0])


def _pin(wheel: str) -> str:
    name, version = wheel.split("-")[:2]
    return f"{name}=={version}"


def _glibc_of(wheel: str) -> tuple[int, int] | None:
    """A wheel may bear several tags; the least of them is enough."""
    platforms = wheel.removesuffix(".whl").rpartition("-")[2]
    found = [(int(major), int(minor_)) for major, minor_ in _MANYLINUX.findall(platforms)]
    found += [version for tag, version in _OLD_NAMES.items() if re.search(rf"\b{tag}_", platforms)]
    return min(found, default=None)


def _members(path: Path) -> list[ZipInfo]:
    with ZipFile(path) as packed:
        return packed.infolist()
