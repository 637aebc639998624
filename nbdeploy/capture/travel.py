"""What cannot leave a kernel, and where in the model it is."""

from __future__ import annotations

import functools
import io
import sys
import types
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CannotTravel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.notebook import Notebook

_MAKE_IT_THERE = "create it in the method that uses it, or drop it in __getstate__"
_KEEP_THE_VALUES = "keep the values it would give, as a list"
_OPEN_IT_THERE = "keep its path and open it in the method that uses it, or drop it in __getstate__"

# By module and name of the type, so that nothing is imported to look.
_FACTS: dict[str, tuple[str, str]] = {
    "_thread.lock": ("is a thread lock", _MAKE_IT_THERE),
    "_thread.RLock": ("is a thread lock", _MAKE_IT_THERE),
    "_thread._local": ("is thread-local storage", _MAKE_IT_THERE),
    "threading.local": ("is thread-local storage", _MAKE_IT_THERE),
    "threading.Thread": ("is a thread", _MAKE_IT_THERE),
    "threading.Condition": ("is a thread lock", _MAKE_IT_THERE),
    "threading.Event": ("is a thread lock", _MAKE_IT_THERE),
    "threading.Semaphore": ("is a thread lock", _MAKE_IT_THERE),
    "concurrent.futures.thread.ThreadPoolExecutor": ("is a pool of threads", _MAKE_IT_THERE),
    "concurrent.futures.process.ProcessPoolExecutor": ("is a pool of processes", _MAKE_IT_THERE),
    "multiprocessing.pool.Pool": ("is a pool of processes", _MAKE_IT_THERE),
    "socket.socket": ("is a socket", _MAKE_IT_THERE),
    "_socket.socket": ("is a socket", _MAKE_IT_THERE),
    "ssl.SSLContext": ("is a TLS context", _MAKE_IT_THERE),
    "sqlite3.Connection": ("is a database connection", "keep its path and connect in the method that uses it"),
    "sqlite3.Cursor": ("is a database cursor", "keep the rows it would give"),
    "subprocess.Popen": ("is a running process", _MAKE_IT_THERE),
    "mmap.mmap": ("is a memory-mapped file", _OPEN_IT_THERE),
    "builtins.generator": ("is a generator", _KEEP_THE_VALUES),
    "builtins.coroutine": ("is a coroutine", "keep what it would return"),
    "builtins.async_generator": ("is a generator", _KEEP_THE_VALUES),
    "builtins.frame": ("is a stack frame", "drop it in __getstate__"),
    "builtins.traceback": ("is a traceback", "drop it in __getstate__"),
    "weakref.ReferenceType": ("is a weak reference", "drop it in __getstate__"),
    "builtins.weakref": ("is a weak reference", "drop it in __getstate__"),
}
_FILES = (io.TextIOWrapper, io.BufferedIOBase, io.RawIOBase)
_IN_MEMORY = (io.BytesIO,)


def fact_of(value: Any) -> tuple[str, str] | None:
    """Why `value` cannot travel and what to do, None where it may."""
    if isinstance(value, _FILES) and not isinstance(value, _IN_MEMORY):
        return _file_fact(value)
    for kind in type(value).__mro__[:-1]:
        fact = _FACTS.get(f"{kind.__module__}.{kind.__qualname__}")
        if fact is not None:
            return fact
    return None


def _file_fact(value: Any) -> tuple[str, str]:
    name = getattr(value, "name", None)
    return f"is the open file {name}" if isinstance(name, str) else "is an open file", _OPEN_IT_THERE


def refusal(culprit: Any, root: Any, notebook: Notebook, fact: tuple[str, str]) -> CannotTravel:
    """The error that names `culprit` by its way from `root`."""
    path, maker = path_to(culprit, root, notebook)
    from nbdeploy.capture.source import find_assignment

    cell = cell_of(type(maker), notebook) if maker is not None else None
    if cell is None and path.isidentifier() and (place := find_assignment(path, notebook)):
        cell = place.label
    return CannotTravel(path, fact[0], fact[1], cell)


def cell_of(value: Any, notebook: Notebook) -> str | None:
    """The cell of a class or function of the notebook."""
    from nbdeploy.capture.source import find_class, find_function

    if isinstance(value, type) and value.__module__ == "__main__":
        found = find_class(value, notebook)
        return found.place.label if found else None
    if isinstance(value, types.FunctionType) and notebook.is_own(value.__globals__):
        found = find_function(value.__code__, notebook)
        return found.place.label if found else None
    return None


def name_of(root: Any, notebook: Notebook) -> str:
    """The variable of the notebook that holds `root`, else "model"."""
    scope = notebook.namespace
    return next((name for name, value in scope.items() if value is root and not name.startswith("_")), "model")


def path_to(culprit: Any, root: Any, notebook: Notebook) -> tuple[str, Any]:
    """How Python would say it, and the innermost object of a notebook class on the way."""
    start = name_of(root, notebook)
    seen: dict[int, Any] = {id(root): root}
    queue: list[tuple[Any, str, Any]] = [(root, start, _maker(root, None))]
    for value, path, maker in queue:
        if value is culprit:
            return path, maker
        for step, inner in _steps(value, path, notebook):
            if id(inner) not in seen and len(seen) < 200_000:
                seen[id(inner)] = inner  # kept alive, so that no id is used twice
                queue.append((inner, step, _maker(inner, maker)))
    owners = [(path, value, maker) for value, path, maker in queue if type(value).__module__ == "__main__"]
    path, _, maker = owners[-1] if owners else (start, root, None)
    return f"{path} (in what it pickles)", maker


def _maker(value: Any, before: Any) -> Any:
    return value if type(value).__module__ == "__main__" else before


def _steps(value: Any, path: str, notebook: Notebook) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str | bytes | int | float | types.ModuleType):
        return
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", inner) for key, inner in list(value.items()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{path}[{number}]", inner) for number, inner in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from ((f"{path}.func", value.func), (f"{path}.args", value.args), (f"{path}.keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield from ((f"{path}.__self__", value.__self__), (f"{path}.__func__", value.__func__))
    elif isinstance(value, types.FunctionType):
        yield from _steps_of_function(value, path, notebook)
    elif isinstance(value, type):
        if value.__module__ == "__main__":
            yield from ((f"{path}.{name}", inner) for name, inner in vars(value).items() if not name.startswith("__"))
    else:
        yield from ((f"{path}.{name}", inner) for name, inner in list(getattr(value, "__dict__", {}).items()))
        yield from ((f"{path}.{name}", getattr(value, name)) for name in _slots(value) if hasattr(value, name))
        yield path, type(value)
    if type(value).__name__ == "ndarray" and value.dtype == object:
        yield from ((f"{path}[{number}]", inner) for number, inner in enumerate(value.ravel()[:1000]))


def _slots(value: Any) -> list[str]:
    found: list[str] = []
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        found.extend([slots] if isinstance(slots, str) else slots)
    return [name for name in found if not name.startswith("__")]


def _steps_of_function(value: types.FunctionType, path: str, notebook: Notebook) -> Iterator[tuple[str, Any]]:
    from nbdeploy.capture import lookups
    from nbdeploy.capture.source import contents

    if not notebook.is_own(value.__globals__) and value.__closure__ is None:
        return
    free = value.__code__.co_freevars
    yield from ((f"{path}'s variable {name}", inner) for name, inner in zip(free, contents(value), strict=False))
    yield from ((f"{path}'s default", inner) for inner in value.__defaults__ or ())
    yield from ((f"{path}.{name}", inner) for name, inner in vars(value).items())
    if notebook.is_own(value.__globals__):
        for name in lookups.used(value.__code__):
            if name in value.__globals__:
                yield name, value.__globals__[name]


def is_reloaded(cls: Any) -> bool:
    """Whether a class or function is of a module as it was before it was imported again."""
    module = sys.modules.get(getattr(cls, "__module__", None) or "")
    if module is None or "<locals>" in cls.__qualname__:
        return False
    current: Any = module
    for part in cls.__qualname__.split("."):
        current = getattr(current, part, None)
    return current is not None and current is not cls and type(current) is type(cls)
