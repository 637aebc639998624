"""A full lock, pinned from this kernel: what the model and its code import, the runtime's own needs, and their closures."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from nbdeploy.capture.distributions import COMPILED, Distributions, Installed, distributions, local_path
from nbdeploy.errors import CannotTravel
from nbdeploy.runtime.environment import canonical, minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.requirements import Requirement

RUNTIME = ("bentoml", "pydantic", "uvicorn", "prometheus-client", "numpy")
FAST = ("uvloop", "httptools")  # not on Windows
OURS = "nbdeploy"
_NOT_PACKAGES = {"__main__", "__mp_main__", "notebook_code", "nbdeploy_runtime", OURS, *sys.stdlib_module_names}
_BUILDS = re.compile(r"cpu|cu\d+|rocm[\d.]+|xpu|cann[\d.]+")  # PyTorch's and JAX's names for builds of one release


@dataclass(frozen=True)
class Lock:
    """`requirements` can be installed with plain pip; `modules` are the top-level names they bring.

    `copied` are the files of packages installed from a folder of this machine: path under captured/ and where it lies.
    """

    requirements: tuple[str, ...]
    modules: tuple[str, ...]
    python: str
    copied: tuple[tuple[str, Path], ...] = ()
    warnings: tuple[str, ...] = ()

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.requirements)

    @property
    def digest(self) -> str:
        text = f"python {minor(self.python)}\n{self.text()}"
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def warm() -> None:
    """Read what is installed in the background, so that a lock soon after takes milliseconds."""
    threading.Thread(target=_warmed, name="nbdeploy-environment", daemon=True).start()


def _warmed() -> None:
    _closure(distributions(), {name: frozenset() for name in (*_runtime(frames=True), "scikit-learn")})


def lock(modules: Iterable[str], *, frames: bool) -> Lock:
    """Pin what brings `modules` (dotted names as recorded), the runtime (pandas when rows are `frames`), and their needs.

    Modules of the standard library, captured code and modules no distribution brings are not its business.

    Raises:
        CannotTravel: a package installed from a folder of this machine holds compiled code.
    """
    known = distributions()
    roots: dict[str, frozenset[str]] = dict.fromkeys(_runtime(frames=frames), frozenset())
    warnings: list[str] = []
    asked: dict[str, set[str]] = {}
    for module in sorted(set(modules)):
        top = module.partition(".")[0]
        if top in _NOT_PACKAGES:
            continue
        owner = known.owner(module)
        if owner is not None:
            roots[canonical(owner.name)] = frozenset()
            asked.setdefault(owner.name, set()).add(top)
        elif problem := _ownerless(module):
            warnings.append(problem)
    closure, conflicts = _closure(known, roots)
    return _locked([known.by_name[name] for name in sorted(closure)], asked, [*dict.fromkeys(warnings), *conflicts])


def _runtime(*, frames: bool) -> tuple[str, ...]:
    fast = () if sys.platform == "win32" else FAST
    return (*RUNTIME, *fast, *(("pandas",) if frames else ()))


def _locked(installed: Iterable[Installed], asked: Mapping[str, set[str]], warnings: list[str]) -> Lock:
    requirements: list[str] = []
    modules: set[str] = set()
    copied: list[tuple[str, Path]] = []
    for one in installed:
        if _is_local(one):
            copied.extend(_copied(one, asked.get(one.name, set())))
            continue
        requirement, warning = _pin(one)
        requirements.append(requirement)
        warnings.extend([warning] if warning else [])
        modules |= one.modules
    return Lock(
        requirements=tuple(requirements),
        modules=tuple(sorted(modules)),
        python=platform.python_version(),
        copied=tuple(sorted(copied)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _ownerless(module: str) -> str | None:
    """A sentence about a module that lies among the installed packages but belongs to none."""
    top = module.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if file and {"site-packages", "dist-packages"} & set(Path(file).parts):
        return f"{top} ({file}) belongs to no installed package, so the lock cannot name it; install it with pip"
    return None


def _closure(known: Distributions, roots: dict[str, frozenset[str]]) -> tuple[set[str], list[str]]:
    """The names of all that is needed, and sentences for what is not met in this kernel."""
    done: dict[str, frozenset[str]] = {}
    missing: list[str] = []
    waiting: list[tuple[str, frozenset[str], str, Requirement | None]]
    waiting = [(name, extras, "the runtime", None) for name, extras in sorted(roots.items())]
    while waiting:
        name, extras, asker, requirement = waiting.pop()
        installed = known.by_name.get(name)
        if name == OURS or installed is None:
            missing += [] if installed else [f"{asker} needs {requirement or name}, which is not installed here"]
            continue
        if requirement is not None and not requirement.specifier.contains(installed.version, prereleases=True):
            text = f"{requirement.name}{requirement.specifier}"
            missing.append(f"{asker} needs {text}, but {installed.version} is installed here: pip may refuse this lock")
        if name in done and extras <= done[name]:
            continue
        done[name] = extras | done.get(name, frozenset())
        waiting += [(need.name, need.extras, installed.name, need.requirement) for need in installed.needs(done[name])]
    return set(done), sorted(set(missing))


def _is_local(installed: Installed) -> bool:
    path = local_path(installed)
    return path is not None and ("dir_info" in installed.origin or path.suffix == ".whl")


def _pin(installed: Installed) -> tuple[str, str | None]:
    """The requirement, and a warning where another machine may not be able to fulfil it."""
    origin = installed.origin
    if "vcs_info" in origin:
        return _commit(installed)
    url = str(origin.get("url", ""))
    if url.startswith("https://"):
        return f"{installed.name} @ {_without_secrets(url)}", None
    public, _, local = installed.version.partition("+")
    if not local or _BUILDS.fullmatch(local):
        return f"{installed.name}=={public}", None
    return f"{installed.name}=={public}", (
        f"{installed.name} {installed.version} is a local build; the lock pins {public}, as no index can have it"
    )


def _commit(installed: Installed) -> tuple[str, str | None]:
    origin = installed.origin
    vcs = origin["vcs_info"]
    url = str(origin.get("url", ""))
    line = f"{installed.name} @ {vcs.get('vcs', 'git')}+{_without_secrets(url)}@{vcs.get('commit_id')}"
    if origin.get("subdirectory"):
        line += f"#subdirectory={origin['subdirectory']}"
    if urlsplit(url).scheme in {"", "file"}:
        return f"{installed.name}=={installed.version}", (
            f"{installed.name} was installed from the repository {url} on this machine; the lock pins "
            f"{installed.version}, which an index must have: push it, and install from there"
        )
    return line, None


def _without_secrets(url: str) -> str:
    """Without user and password, but for the customary ssh user."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    keep = f"{user}@{host}" if at and parts.scheme == "ssh" and ":" not in user else host
    return urlunsplit(parts._replace(netloc=keep))


def _copied(installed: Installed, asked: set[str]) -> Iterator[tuple[str, Path]]:
    """An editable install may not say what it brings: then what was asked of it, or a module of its own name."""
    for module in sorted(installed.modules or asked or {canonical(installed.name).replace("-", "_")}):
        place = _place(installed, module)
        if place is None:
            raise CannotTravel(installed.name, "is installed from a folder, and its files were not found", _PUBLISH)
        yield from _files(installed, module, place)


_PUBLISH = "publish a wheel of it to a package index and install it from there"


def _place(installed: Installed, module: str) -> Path | None:
    """The folder or file of a top-level module, found without importing it."""
    for path in (installed.root / module, installed.root / f"{module}.py"):
        if path.exists():
            return path
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or ())
    return Path(locations[0]) if locations else Path(str(spec.origin))


def _files(installed: Installed, module: str, place: Path) -> Iterator[tuple[str, Path]]:
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    for path in files:
        relative = path.relative_to(place) if place.is_dir() else None
        if path.name.endswith(COMPILED):
            origin = local_path(installed)
            raise CannotTravel(
                installed.name, f"is installed from {origin} and holds compiled code ({path.name})", _PUBLISH
            )
        if "__pycache__" not in path.parts:
            yield (f"{module}/{relative.as_posix()}" if relative else path.name), path
