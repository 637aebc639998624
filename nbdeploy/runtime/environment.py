"""Does this interpreter satisfy a bundle's lock, and does the bundle keep to it?

`problems` is asked before anything is unpickled. `install_guard` makes an interpreter with much installed behave like
a clean one that holds the lock alone. Only the standard library is used: the interpreter may lack everything else.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from importlib.machinery import ModuleSpec

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*==\s*([^\s;]+)")
_AT = re.compile(r"([A-Za-z0-9][\w.-]*)\s*@\s*(\S+)")
_FOLDER = re.compile(r"([^-]+)-(.+)\.(?:dist|egg)-info")


class Found(NamedTuple):
    version: str
    path: Path  # of its metadata


def problems(environment: Mapping[str, Any]) -> list[str]:
    """Why this interpreter cannot run a bundle with the manifest's `environment`: sentences, empty when it can.

    The Python minor version always has to match: the lock was resolved for it, and objects pickled by value crash on
    another one.
    """
    found = _other_python(environment)
    installed = installed_distributions()
    for requirement in environment.get("requirements", ()):
        problem = _problem(requirement, installed)
        if problem:
            found.append(problem)
    return found


def installed_distributions() -> dict[str, Found]:
    """Canonical name -> what is installed, from folder names alone: 60 pins cost 2 ms, not 40 as with importlib.metadata."""
    found: dict[str, Found] = {}
    for folder in sys.path:
        try:
            with os.scandir(folder or ".") as entries:
                names = [entry.name for entry in entries]
        except OSError:  # a zip, or a folder that is gone
            continue
        for name in names:
            match = _FOLDER.fullmatch(name)
            if match:
                found.setdefault(canonical(match[1]), Found(match[2], Path(folder, name)))
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def minor(version: str) -> str:
    """The first two numbers of a Python version."""
    return ".".join(version.split(".")[:2])


def _other_python(environment: Mapping[str, Any]) -> list[str]:
    here, wanted = platform.python_version(), environment.get("python")
    if wanted and minor(str(wanted)) != minor(here):
        return [f"this is Python {minor(here)}, the bundle was made with Python {minor(str(wanted))}"]
    implementation = environment.get("implementation")
    if implementation and str(implementation).lower() != sys.implementation.name:
        return [f"this Python is {sys.implementation.name}, the bundle was made with {implementation}"]
    return []


def _problem(requirement: str, installed: Mapping[str, Found]) -> str | None:
    pin = _PIN.match(requirement)
    if pin:
        return _other_version(pin[1], pin[2], installed.get(canonical(pin[1])))
    direct = _AT.match(requirement)
    if direct:
        return _other_origin(direct[1], direct[2], installed.get(canonical(direct[1])))
    return f'the lock holds "{requirement}", which is not a pinned requirement'


def _other_version(name: str, wanted: str, found: Found | None) -> str | None:
    if found and _same(wanted, found.version):
        return None
    here = _version_by_metadata(name)  # a folder's name may be spelt otherwise, or lie in a zip
    if here is None:
        return f"{name} is not installed, the bundle needs {wanted}"
    return None if _same(wanted, here) else f"{name} is {here} here, the bundle needs {wanted}"


def _same(wanted: str, here: str) -> bool:
    """Equal; a pin without a local part is met by any build of that version ("2.4.0" by "2.4.0+cpu")."""
    return here == wanted or ("+" not in wanted and here.partition("+")[0] == wanted)


def _version_by_metadata(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _other_origin(name: str, wanted: str, found: Found | None) -> str | None:
    if found is None:
        return f"{name} is not installed, the bundle needs it from {wanted}"
    try:
        origin = json.loads((found.path / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        return f"{name} {found.version} came from an index, the bundle needs it from {wanted}"
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit and commit in wanted:
        return None
    if not commit and wanted.partition("#")[0] == origin.get("url"):
        return None
    return f"{name} came from {commit or origin.get('url')}, the bundle needs it from {wanted}"


class Outsider(NamedTuple):
    """A module that was asked for and kept out; `distribution` is "xgboost 3.0.1", None for a loose file."""

    module: str
    distribution: str | None
    path: str

    def __str__(self) -> str:
        owner = f"it belongs to {self.distribution}" if self.distribution else f"it lies in {self.path}"
        return f"No module named {self.module!r}: {owner}, which is not part of this bundle's lock"


class Guard:
    """The only finder on `sys.meta_path`, in front of those it found there.

    An import of an outsider raises ModuleNotFoundError, a mere look (importlib.util.find_spec) gets None, and the
    metadata of other distributions is hidden: what optional imports and plugins see in a clean environment.
    """

    def __init__(self, allowed: Iterable[str], folders: Iterable[Path], requirements: Iterable[str]) -> None:
        self.refused: dict[str, Outsider] = {}
        self._behind = list(sys.meta_path)
        self._free = {*sys.stdlib_module_names, *allowed, *(name.partition(".")[0] for name in sys.modules)}
        self._folders = tuple(str(Path(folder).resolve()) + os.sep for folder in folders)
        self._locked = frozenset(canonical(re.split(r"[^\w.-]", item, maxsplit=1)[0]) for item in requirements)
        self._provided: dict[str, frozenset[str]] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = self._behind_spec(fullname, path, target)
        if spec is None or not self._is_outsider(fullname, spec):
            return spec
        outsider = self.refused.get(fullname) or Outsider(fullname, *_owner(fullname, spec))
        self.refused[fullname] = outsider
        if sys._getframe(2).f_code.co_name == "_find_and_load_unlocked":  # noqa: SLF001 - an import, not importlib.util.find_spec
            raise ModuleNotFoundError(str(outsider), name=fullname)
        return None

    def find_distributions(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for finder in self._behind:
            for distribution in getattr(finder, "find_distributions", _nothing)(*args, **kwargs):
                if not self._locked or _name_of(distribution) in self._locked:
                    yield distribution

    def invalidate_caches(self) -> None:
        for finder in self._behind:
            getattr(finder, "invalidate_caches", _nothing)()

    def remove(self) -> None:
        """Everything is importable again, and names kept out may be asked for anew."""
        if self in sys.meta_path:
            at = sys.meta_path.index(self)
            sys.meta_path[at : at + 1] = self._behind

    def _behind_spec(self, fullname: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in self._behind:
            find: Callable[..., ModuleSpec | None] | None = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find else None
            if spec is not None:
                return spec
        return None

    def _is_outsider(self, fullname: str, spec: ModuleSpec) -> bool:
        top, _, rest = fullname.partition(".")
        if rest:
            return self._in_foreign_portion(fullname, top)
        return top not in self._free and not self._is_at_home(_place(spec))

    def _is_at_home(self, place: str | None) -> bool:
        if place is None:  # built-in or frozen
            return True
        if (os.path.realpath(place) + os.sep).startswith(self._folders):
            return True
        standard = str(Path(os.__file__).parent) + os.sep
        return place.startswith(standard) and not place.startswith(
            tuple(standard + name + os.sep for name in ("site-packages", "dist-packages"))
        )

    def _in_foreign_portion(self, fullname: str, top: str) -> bool:
        """Part of a namespace package (google, opentelemetry) that only distributions outside the lock bring."""
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if not self._locked or parent is None or getattr(parent, "__file__", None) is not None:
            return False
        roots = [os.path.realpath(item) + os.sep for item in getattr(parent, "__path__", ())]
        if not roots or any(root.startswith(self._folders) for root in roots):
            return False
        if top not in self._provided:
            self._provided[top] = frozenset(_provided(top, self._locked))
        return bool(self._provided[top]) and fullname not in self._provided[top]


_current: list[Guard] = []  # at most one


def install_guard(allowed: Iterable[str], folders: Iterable[Path], requirements: Iterable[str] = ()) -> Guard:
    """Refuse from now on every module that is not of the standard library, of `allowed` (top-level names), under one of
    `folders` or imported already. With the lock's `requirements` also parts of shared namespace packages are told
    apart, and other distributions' entry points are hidden.
    """
    for guard in _current:
        guard.remove()
    _current[:] = [Guard(allowed, folders, requirements)]
    sys.meta_path[:] = _current
    return _current[0]


def _name_of(distribution: Any) -> str:
    """By its folder: libraries ask for all entry points while they are first used, and 100 parsed files take 0.1 s."""
    folder = _FOLDER.fullmatch(getattr(getattr(distribution, "_path", None), "name", ""))
    return canonical(folder[1] if folder else distribution.metadata["Name"] or "")


def _nothing(*_args: Any, **_kwargs: Any) -> tuple[()]:
    return ()


def _place(spec: ModuleSpec) -> str | None:
    if spec.has_location and spec.origin:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), None)


def _owner(fullname: str, spec: ModuleSpec) -> tuple[str | None, str]:
    place = _place(spec) or ""
    stem = "\n" + fullname.replace(".", "/")
    for found in installed_distributions().values():
        record = _record(found)
        if stem + "/" in record or stem + "." in record:
            return f"{_FOLDER.fullmatch(found.path.name)[1]} {found.version}", place  # type: ignore[index]  # found by that pattern
    return None, place


def _provided(top: str, locked: frozenset[str]) -> Iterator[str]:
    for name, found in installed_distributions().items():
        if name in locked:
            for path in re.findall(rf"^({top}/[^,\n]*?)(?:\.[^/,\n]*)?,", _record(found), flags=re.MULTILINE):
                parts = path.split("/")
                yield from (".".join(parts[:count]) for count in range(2, len(parts) + 1))


def _record(found: Found) -> str:
    try:
        return "\n" + (found.path / "RECORD").read_text(encoding="utf-8")
    except OSError:
        return ""
