"""Local modules: `.py` files of the user's own that no installed distribution brings. They travel as copies."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.freeze import literal
from nbdeploy.capture.lookups import nested
from nbdeploy.capture.source import normal
from nbdeploy.errors import CannotTravel

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Iterator
    from types import FunctionType

_AGAIN = "restart the kernel, or reload it and fit again, so that the file is what runs here"


def file_of(name: str) -> Path | None:
    """The file of a local module; None for packages, builtins, installed and unknown ones."""
    module = sys.modules.get(name)
    given = getattr(module, "__file__", None)
    if not isinstance(given, str) or name == "__main__" or name.partition(".")[0] in sys.stdlib_module_names:
        return None
    path = Path(given)
    if any(path.is_relative_to(folder) for folder in _installed_folders()) or _is_installed(name, path):
        return None
    return path


def is_local(name: str) -> bool:
    if file_of(name) is not None:
        return True
    module = sys.modules.get(name)  # a folder without __init__.py
    folders = (
        [Path(folder) for folder in getattr(module, "__path__", ())]
        if getattr(module, "__file__", None) is None
        else []
    )
    return any(not folder.is_relative_to(root) for folder in folders for root in _installed_folders()[:1]) and any(
        other.startswith(f"{name}.") and file_of(other) for other in list(sys.modules)
    )


class LocalModules:
    """Copies of the local modules among `names` and of those they import."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.copied: list[tuple[str, str, str]] = []  # name, path under captured/, sha256
        self.imports: set[str] = set()
        self._seen: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Raises CannotTravel for a module that is not what its file says."""
        queue = sorted(names)
        for name in queue:
            for part in [*_with_parents(name)]:
                if part not in self._seen and is_local(part):
                    self._seen.add(part)
                    queue.extend(self._copy(part))

    def _copy(self, name: str) -> list[str]:
        path = file_of(name)
        if path is None:
            return []
        if path.suffix != ".py":
            raise CannotTravel(name, f"is the compiled module {path.name}", "install it as a package")
        try:
            source = path.read_bytes()
            tree = ast.parse(source)
        except OSError as exc:
            raise CannotTravel(
                name, f"was imported from {path}, and that cannot be read now ({exc.strerror})", "put the file back"
            ) from exc
        except (SyntaxError, ValueError) as exc:
            raise CannotTravel(
                name, f"was edited since its import: {path.name} is not Python any more", "mend the file"
            ) from exc
        refuse_edited(name, path, source, tree)
        inside = self._place(name, path)
        self.files[inside] = source
        self.copied.append((name, inside, "sha256:" + hashlib.sha256(source).hexdigest()))
        needed = set(_imported(name, tree)) | _of_package(name)
        self.imports |= {other for other in needed if not is_local(other)}
        return sorted(needed)

    @staticmethod
    def _place(name: str, path: Path) -> str:
        inside = name.replace(".", "/")
        return f"{inside}/__init__.py" if path.name == "__init__.py" else f"{inside}.py"


def refuse_edited(name: str, path: Path, source: bytes, tree: ast.Module) -> None:
    """Compare the file with the live module: functions, methods and literal constants. Raises CannotTravel."""
    module = sys.modules[name]
    codes: dict[str, list[Any]] = {}
    for code in nested(compile(source, str(path), "exec", dont_inherit=True)):
        codes.setdefault(code.co_qualname, []).append(normal(code))
    for qualname, function in _functions(module, path):
        if normal(function.__code__) not in codes.get(qualname, ()):
            fact = f"was edited since its import: {qualname} is not what {path.name} says"
            raise CannotTravel(f"{name}.{qualname}", fact, _AGAIN)
    for constant, written, live in _changed_constants(module, tree):
        raise CannotTravel(f"{name}.{constant}", f"is {_short(live)}, the file says {_short(written)}", _AGAIN)
    missing = [item.name for item in tree.body if isinstance(item, _DEFINITIONS) and item.name not in vars(module)]
    if missing:
        raise CannotTravel(name, f"was edited since its import: {path.name} also has {missing[0]}", _AGAIN)


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _functions(module: types.ModuleType, path: Path) -> Iterator[tuple[str, FunctionType]]:
    """The module's own functions and methods, each under the name its code has in the file."""
    from nbdeploy.capture.source import underlying

    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        items = list(vars(value).values()) if isinstance(value, type) else [value]
        for item in items:
            for function in underlying(item):
                if Path(function.__code__.co_filename) == path:
                    yield function.__code__.co_qualname, function


def _changed_constants(module: types.ModuleType, tree: ast.Module) -> Iterator[tuple[str, Any, Any]]:
    names = [name for item in tree.body for name in _targets(item)]
    for item in tree.body:
        for name in _targets(item):
            if names.count(name) != 1 or name not in vars(module):
                continue
            try:
                written = ast.literal_eval(item.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError, SyntaxError):
                continue
            live = vars(module)[name]
            if isinstance(written, str | int | float | bool | tuple | frozenset | None) and literal(live) != literal(
                written
            ):
                yield name, written, live


def _targets(item: ast.stmt) -> list[str]:
    if isinstance(item, ast.Assign):
        return [target.id for target in item.targets if isinstance(target, ast.Name)]
    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
        return [item.target.id]
    return []


def _imported(name: str, tree: ast.Module) -> Iterator[str]:
    """Modules a local file imports that exist here."""
    module = sys.modules[name]
    package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _exists(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            yield from (
                each
                for each in candidates
                if each in sys.modules or ((each == base or is_local(base)) and _exists(each))
            )


def _exists(name: str) -> bool:
    """Whether a module is loaded, or a local file that a function would load later."""
    if name in sys.modules:
        return True
    if not is_local(name.partition(".")[0]) and importlib.util.find_spec(name.partition(".")[0]) is None:
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    if (
        spec is not None
        and spec.origin
        and spec.origin.endswith(".py")
        and not any(Path(spec.origin).is_relative_to(root) for root in _installed_folders())
    ):
        importlib.import_module(
            name
        )  # imported by a function of the module when it runs: it has to be compared and copied
    return spec is not None


def _of_package(name: str) -> set[str]:
    """The package's modules that are loaded."""
    top = name.partition(".")[0]
    return (
        {other for other in list(sys.modules) if other.startswith(f"{top}.")}
        if hasattr(sys.modules[name], "__path__")
        else set()
    )


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


@lru_cache(maxsize=1)
def _installed_folders() -> tuple[Path, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {Path(sysconfig.get_path(key)) for key in keys} | {
        Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))
    }
    return tuple(sorted(found | {folder.resolve() for folder in found}))


def _is_installed(name: str, path: Path) -> bool:
    """Whether a distribution installed in place (pip install -e) brings this file."""
    top = name.partition(".")[0]
    for root, tops in _in_place():
        if path.is_relative_to(root) and (top in tops or path.is_relative_to(root / "src")):
            return True
    return False


def _in_place() -> list[tuple[Path, frozenset[str]]]:
    found = []
    for folder in _installed_folders():
        for record in folder.glob("*.dist-info/direct_url.json"):
            try:
                given = json.loads(record.read_bytes())
            except (OSError, ValueError):
                continue
            if given.get("dir_info", {}).get("editable"):
                found.append((Path(given["url"].removeprefix("file://")), _tops(record.parent)))
    return found


def _tops(folder: Path) -> frozenset[str]:
    own = folder.name.partition("-")[0].lower()
    listed = folder / "top_level.txt"
    return frozenset({own, *(listed.read_text().split() if listed.is_file() else ())})
