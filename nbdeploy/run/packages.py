"""The packages of a lock for an image: hashes for every pin, then the very files those hashes name, in one folder.

All of it happens here, outside the builder, so that index, proxy and CA are those uv and pip are configured for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbdeploy.errors import EnvironmentFailed, ImageFailed
from nbdeploy.run.installers import Runner, find_uv
from nbdeploy.runtime.manifest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from packaging.version import Version

MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}
GLIBC = 36  # the minor version of the base images' C library: Debian 12 or newer
OLDEST = 17
LOCK = "requirements.lock"
ABSENT = "no index offers"
# What only compilers and test runners read.
LEFT_OUT = frozenset({".pyx", ".pxd", ".pyi", ".c", ".h", ".cpp", ".hpp", ".a"})


@dataclass(frozen=True)
class Target:
    """What the packages are for: a minor version of Python ("3.11") on an engine's machine ("amd64")."""

    python: str
    machine: str

    @property
    def platform(self) -> str:
        return MACHINES.get(self.machine, self.machine)

    @property
    def tags(self) -> list[str]:
        """Wheels that fit, the newest kind first, as pip wants them named."""
        return [
            *(f"manylinux_2_{minor}_{self.platform}" for minor in range(GLIBC, OLDEST - 1, -1)),
            f"manylinux2014_{self.platform}",
        ]


@dataclass(frozen=True)
class Source:
    """Where wheels come from: the configured index, or a folder of them and no index at all."""

    wheelhouse: Path | None = None

    @property
    def options(self) -> list[str]:
        return [] if self.wheelhouse is None else ["--no-index", "--find-links", str(self.wheelhouse)]


@dataclass(frozen=True)
class Collector:
    target: Target
    source: Source
    run: Runner

    def collect(self, lines: Sequence[str], folder: Path, known: str | None = None) -> str:
        """The lock with hashes; the packages themselves are then in `folder`/packages. `known` is the lock of an earlier time.

        Raises:
            ImageFailed: a pin has no wheel for the target, or another file than before; index or wheelhouse lack it.
        """
        pins = folder / "requirements.txt"
        pins.write_text("".join(f"{line}\n" for line in plain(lines, self.source)), encoding="utf-8")
        text, uv, first = None, find_uv(), None
        try:
            text = self._with_uv(uv, pins, known) if uv else None
        except EnvironmentFailed as exc:
            first = exc
            self.run.say(f"uv could not: {exc.fact}; trying pip")
        try:
            if text is None and first is not None and importlib.util.find_spec("pip") is None:
                raise first  # uv makes environments without pip
            text = text or self._with_pip(pins, known)
        except EnvironmentFailed as exc:
            cause = first if first and exc.fact.startswith(ABSENT) else exc  # pip says so of an index out of reach too
            raise ImageFailed("The image", cause.fact, _advice(cause, self.source), cause.log) from exc
        slim(folder / "packages")
        return text

    def _with_uv(self, uv: str, pins: Path, known: str | None) -> str:
        lock, target = pins.with_name(LOCK), self.target
        to = ["--python-version", target.python, "--python-platform", f"{target.platform}-manylinux_2_{GLIBC}"]
        to += self.source.options
        if known is None and self.source.wheelhouse is not None:  # of files in a folder uv tells no hashes
            lines = pins.read_text(encoding="utf-8").splitlines()
            lock.write_text("".join(of_folder(lines, self.source.wheelhouse)), encoding="utf-8")
        elif known is None:
            quiet = ["--quiet", "--no-header", "--no-annotate", "--no-deps", "--generate-hashes"]
            self.run.output([uv, "pip", "compile", *quiet, *to, "--output-file", str(lock), str(pins)], lock)
        else:
            lock.write_text(known, encoding="utf-8")
        checked = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        place = ["--target", str(pins.with_name("packages")), "--requirement", str(lock)]
        self.run.output([uv, "pip", "install", *checked, *to, *place], lock)
        return lock.read_text(encoding="utf-8")

    def _with_pip(self, pins: Path, known: str | None) -> str:
        """Of an index, pip says no hashes: the files are fetched, and hashed as they came."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        kind = ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", self.target.python]
        kind += [word for tag in self.target.tags for word in ("--platform", tag)]
        wheels, lock = pins.with_name("wheels"), pins.with_name(LOCK)
        shutil.rmtree(pins.with_name("packages"), ignore_errors=True)
        if known is not None:
            lock.write_text(known, encoding="utf-8")
        wanted = ["--dest", str(wheels), "--requirement", str(pins if known is None else lock)]
        self.run.output([*pip, "download", *kind, *self.source.options, *wanted], lock)
        if known is None:
            lock.write_text("".join(hashed(wheels)), encoding="utf-8")
        place = ["--target", str(pins.with_name("packages")), "--requirement", str(lock)]
        offline = ["--no-index", "--find-links", str(wheels), "--no-compile", "--require-hashes"]
        self.run.output([*pip, "install", *kind, *offline, *place], lock)
        shutil.rmtree(wheels)
        return lock.read_text(encoding="utf-8")


def plain(lines: Iterable[str], source: Source) -> list[str]:
    """Pins alone. What came from a repository has no hash to check; a wheel of it in the wheelhouse has.

    Raises:
        ImageFailed
    """
    return [_pin(line, source) if " @ " in line else line for line in lines]


def _pin(line: str, source: Source) -> str:
    from packaging.utils import canonicalize_name

    name = line.partition(" @ ")[0].partition("[")[0].strip()
    for found, version, _ in _wheels(source.wheelhouse) if source.wheelhouse else ():
        if found == canonicalize_name(name):
            return f"{name}=={version}"
    step = "build its wheel (`pip wheel --no-deps`) into a folder with the others, and name that with --wheelhouse"
    raise ImageFailed("The image", f"{name} comes from a repository, so no hash can be checked", step)


def hashed(folder: Path) -> list[str]:
    """Lines of a lock for the wheels that lie here."""
    return [f"{name}=={version} --hash={digest_of(path)}\n" for name, version, path in _wheels(folder)]


def of_folder(lines: Iterable[str], folder: Path) -> list[str]:
    """The pins with the hashes of every wheel of them in the folder, one for each platform perhaps.

    Raises:
        EnvironmentFailed: there is no wheel of one.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there, found = list(_wheels(folder)), []
    for line in lines:
        pin = Requirement(line)
        name = canonicalize_name(pin.name)
        paths = [path for named, version, path in there if named == name and version in pin.specifier]
        if not paths:
            raise EnvironmentFailed(f"{ABSENT} {line}", f"put a wheel of it into {folder}")
        found.append(" ".join([line, *(f"--hash={digest_of(path)}" for path in paths)]) + "\n")
    return found


def _wheels(folder: Path) -> Iterator[tuple[str, Version, Path]]:
    """Name, version and path of each; what bears no wheel's name is passed over, as installers do."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    for path in sorted(folder.glob("*.whl")):
        with contextlib.suppress(InvalidWheelFilename):
            name, version, _, _ = parse_wheel_filename(path.name)
            yield name, version, path


def slim(packages: Path) -> None:
    """Tests inside packages, what compilers read, and scripts for the interpreter that installed them."""
    for place in [path for path in packages.rglob("tests") if path.parent != packages and path.is_dir()]:
        shutil.rmtree(place, ignore_errors=True)  # one may lie in another
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for path in packages.rglob("*"):
        if path.suffix in LEFT_OUT or path.name in {".lock", ".gitignore"}:
            path.unlink()


def pins_of(lock: str) -> dict[str, str]:
    """Distribution -> version, of a lock with hashes."""
    return dict(re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, re.MULTILINE))


def _advice(exc: EnvironmentFailed, source: Source) -> str:
    if source.wheelhouse is None:
        return f"{exc.advice}; or collect the wheels elsewhere and name their folder with --wheelhouse"
    if exc.fact.startswith(ABSENT):
        return f"put the missing wheels for the image's Python and platform into {source.wheelhouse}"
    return exc.advice
