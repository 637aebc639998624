"""What is installed in this kernel: which distribution brings which module, and what it needs itself.

importlib.metadata.packages_distributions() takes 50 to 400 ms and reads all metadata as e-mails; here each file is
read once, with a pattern, and kept until something is installed or removed (`%pip install` touches the folder).
"""

from __future__ import annotations

import functools
import json
import re
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nbdeploy.runtime.environment import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.requirements import Requirement

_IMPORTABLE = (".py", ".so", ".pyd")
COMPILED = (".so", ".pyd", ".dylib", ".dll")


class Need(NamedTuple):
    """One satisfied marker of a Requires-Dist: the distribution, the extras asked of it, the versions allowed."""

    name: str
    extras: frozenset[str]
    requirement: Requirement


class Installed:
    """One distribution, read lazily."""

    def __init__(self, distribution: metadata.Distribution) -> None:
        self._distribution = distribution
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        self._header = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
        self.name = self._field("Name")
        self.version = self._field("Version")
        self._needs: dict[frozenset[str], tuple[Need, ...]] = {}

    def _field(self, name: str) -> str:
        match = re.search(rf"^{name}:\s*(\S+)", self._header, re.MULTILINE)
        return match[1] if match else ""

    @functools.cached_property
    def record(self) -> str:
        """Paths of its files relative to `root`, one a line (with more after a comma)."""
        text = self._distribution.read_text("RECORD")
        return text if text is not None else "\n".join(str(path) for path in self._distribution.files or ())

    @functools.cached_property
    def modules(self) -> frozenset[str]:
        """Top-level names that can be imported."""
        found = frozenset(_top_levels(self.record))
        return found or frozenset((self._distribution.read_text("top_level.txt") or "").split())

    @functools.cached_property
    def origin(self) -> dict[str, Any]:
        """PEP 610's direct_url.json; empty for what came from an index, and for conda, which leaves its build folder there."""
        text = self._distribution.read_text("direct_url.json")
        if text is None or (self._distribution.read_text("INSTALLER") or "").strip() == "conda":
            return {}
        found = json.loads(text)
        return found if isinstance(found, dict) else {}

    @property
    def root(self) -> Path:
        return Path(str(self._distribution.locate_file("")))

    def brings(self, module: str) -> int:
        """How many leading parts of a dotted module name lie in its files: tells owners of a namespace apart."""
        parts = module.split(".")
        return sum(f"\n{'/'.join(parts[: count + 1])}" in f"\n{self.record}" for count in range(len(parts)))

    def needs(self, extras: frozenset[str]) -> tuple[Need, ...]:
        if extras not in self._needs:
            self._needs[extras] = tuple(self._satisfied(extras))
        return self._needs[extras]

    def _satisfied(self, extras: frozenset[str]) -> Iterator[Need]:
        for line in re.findall(r"^Requires-Dist:\s*(.+?)\s*$", self._header, re.MULTILINE):
            if "extra" in line and not extras and re.search(r"\bextra\s*==", line) and " or " not in line:
                continue
            requirement = _requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield Need(canonical(requirement.name), frozenset(map(canonical, requirement.extras)), requirement)


def _top_levels(record: str) -> Iterator[str]:
    for line in record.splitlines():
        path = line.partition(",")[0]
        if path.endswith(_IMPORTABLE):
            top = path.partition("/")[0].partition(".")[0]
            if top.isidentifier() and not top.startswith("__editable__"):
                yield top


class Distributions:
    """All of them, by canonical name and by top-level module."""

    def __init__(self) -> None:
        self.by_name: dict[str, Installed] = {}
        self.nameless: list[str] = []
        for distribution in metadata.distributions():
            found = Installed(distribution)
            if found.name and found.version:
                self.by_name.setdefault(canonical(found.name), found)
            else:
                self.nameless.append(str(getattr(distribution, "_path", found.root)))
        self.owners: dict[str, list[Installed]] = {}
        for installed in self.by_name.values():
            for module in installed.modules:
                self.owners.setdefault(module, []).append(installed)

    def owner(self, module: str) -> Installed | None:
        """The distribution that brings a dotted module; where several share its top-level name, the one with its files."""
        owners = self.owners.get(module.partition(".")[0], [])
        if len(owners) < 2:
            return owners[0] if owners else self._editable(module)
        return max(owners, key=lambda installed: installed.brings(module))

    def _editable(self, module: str) -> Installed | None:
        """An editable install records no files: its project folder holds the module's file."""
        file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
        for installed in self.by_name.values() if file else ():
            folder = folder_of(installed)
            if folder is not None and Path(str(file)).resolve().is_relative_to(folder):
                return installed
        return None


def folder_of(installed: Installed) -> Path | None:
    """The local project an editable install points to."""
    if not installed.origin.get("dir_info", {}).get("editable"):
        return None
    return local_path(installed)


def local_path(installed: Installed) -> Path | None:
    """The folder or file of this machine it was installed from."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(str(installed.origin.get("url", "")))
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None


@functools.lru_cache(maxsize=4096)
def _requirement(line: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(line)


_lock = threading.Lock()
_known: dict[str, tuple[tuple[tuple[str, int], ...], Distributions]] = {}


def distributions() -> Distributions:
    """Read once a process, and again when a folder of sys.path has changed."""
    key = _state()
    with _lock:
        held = _known.get("here")
        if held is None or held[0] != key:
            held = _known["here"] = (key, Distributions())
        return held[1]


def _state() -> tuple[tuple[str, int], ...]:
    found = []
    for folder in sys.path:
        try:
            found.append((folder, Path(folder).stat().st_mtime_ns))
        except OSError:
            continue
    return tuple(found)
