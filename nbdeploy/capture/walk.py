"""The pickler: refers to the captured module for what the notebook defined, and notes every module on the way."""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import sys
import types
import typing
from types import FunctionType
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.module import NAME
from nbdeploy.capture.source import NoSource, contents, is_closure, underlying
from nbdeploy.capture.travel import fact_of, is_reloaded, path_to, refusal
from nbdeploy.errors import CannotTravel, an

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.capture.define import Definitions

OWN_RUNTIME, RUNTIME_IN_BUNDLE = "nbdeploy.runtime", "nbdeploy_runtime"
_CACHED = type(functools.lru_cache(lambda: None))
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()), types.MappingProxyType, memoryview)
_INSIDE_FUNCTIONS = (
    typing.TypeVar,
    types.CodeType,
    types.CellType,
    property,
    classmethod,
    staticmethod,
    types.GetSetDescriptorType,
)


class _Module:
    """Pickles as `import_module(name)`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.name,)


class Walk:
    """One capture: several pickles that share definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.classes: dict[type, None] = {}
        self.modules: set[str] = set()
        self.by_value: dict[int, tuple[Any, str]] = {}
        self.whole: set[int] = set()  # functions of classes that go by value go with them
        self.harmless: set[type] = set()
        self._modules: dict[str, _Module] = {}

    def dumps(self, value: Any) -> tuple[bytes, set[str]]:
        """The pickle and the names of the module it refers to. Raises CannotTravel."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self)
        try:
            pickler.dump(value)
        except CannotTravel:
            raise
        except CannotTravelHere as here:
            raise refusal(here.value, value, self.definitions.notebook, here.fact) from None
        except RecursionError as exc:
            path, _ = path_to(value, value, self.definitions.notebook)
            raise CannotTravel(path, "is nested too deeply to be pickled", "make it flatter") from exc
        except Exception as exc:  # pickling calls __reduce__ and __getstate__ of any class: any error may come
            raise self._unpicklable(exc, pickler.last, value) from exc
        data = buffer.getvalue()
        self._check(data, value)
        return data, pickler.names

    def module(self, name: str) -> _Module:
        return self._modules.setdefault(name, _Module(name))

    def _unpicklable(self, exc: Exception, culprit: Any, root: Any) -> CannotTravel:
        kind = type(culprit).__name__
        fact = (
            f"({an(kind)}) cannot be pickled: {exc}",
            "drop it in __getstate__, or make it in the method that uses it",
        )
        return refusal(culprit, root, self.definitions.notebook, fact)

    def _check(self, data: bytes, root: Any) -> None:
        """No reference to `__main__` may be left: there it would be another module."""
        if b"__main__" not in data:
            return
        import pickletools

        strings: list[str] = []
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in {"SHORT_BINUNICODE", "BINUNICODE"}:
                strings.append(str(argument))
            elif (opcode.name == "STACK_GLOBAL" and "__main__" in strings[-2:-1]) or (
                opcode.name == "GLOBAL" and str(argument).startswith("__main__ ")
            ):
                path, _ = path_to(None, root, self.definitions.notebook)
                fact = f"pickles a reference to {strings[-1]}, a name of this notebook"
                raise CannotTravel(path, fact, "give its class a __reduce__ that names no global")


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, walk: Walk) -> None:
        super().__init__(buffer, protocol=5)
        self.walk = walk
        self.definitions = walk.definitions
        self.names: set[str] = set()
        self.last: Any = None
        self.globals_ref: dict[int, dict[str, Any]] = {}  # cloudpickle's name

    def reducer_override(self, value: Any) -> Any:
        self.last = value
        reduce = _REDUCERS.get(type(value))
        if reduce is not None:
            return reduce(self, value)
        if isinstance(value, type):
            return self._class(value)
        if type(value) not in self.walk.harmless:
            fact = fact_of(value)
            if fact is not None:
                raise CannotTravelHere(value, fact)
            self.walk.harmless.add(type(value))
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and hasattr(value, "__qualname__"):
            self.walk.modules.add(module)
        return NotImplemented

    # -- classes and functions ------------------------------------------------------------------------------------

    def _class(self, value: type) -> Any:
        if value.__module__ == "__main__":
            return self._own(value)
        if value.__module__.startswith(OWN_RUNTIME):
            name = value.__module__.replace(OWN_RUNTIME, RUNTIME_IN_BUNDLE, 1)
            return getattr, (self.walk.module(name), value.__qualname__)
        self.walk.classes[value] = None
        self.walk.modules.add(value.__module__)
        return self._elsewhere(value)

    def function(self, value: FunctionType) -> Any:
        if id(value) in self.walk.whole:
            return self._as_value(value, None)
        if self.definitions.is_own(value):
            method = _method_of(value, self.definitions.notebook.namespace)
            return self._attribute(method, value.__name__) if method else self._own(value)
        self.walk.modules.add(value.__module__ or "builtins")
        return self._elsewhere(value)

    def _own(self, value: Any) -> Any:
        try:
            if is_closure(value):
                return self._closure(value)
            return self._named(self.definitions.reference(value))
        except NoSource as why:
            return self._as_value(value, str(why))

    def _named(self, name: str) -> Any:
        self.names.add(name.partition(".")[0])
        owner, _, last = name.rpartition(".")
        return getattr, (_Reference(self._named(owner)) if owner else self.walk.module(NAME), last)

    def _attribute(self, owner: type, name: str) -> Any:
        return getattr, (owner, name)

    def _closure(self, value: FunctionType) -> Any:
        """`(factory, what the variables hold)`: readable code, and its data in the pickle."""
        if _reaches_itself(value):
            raise NoSource("it refers to itself")
        bound = self.definitions.bound_name(value)
        if bound is not None:
            return self._named(bound)
        maker = _Reference(self._named(self.definitions.factory(value)))
        state = dict(vars(value))
        changed = {key: getattr(value, key) for key in ("__name__", "__qualname__", "__doc__")}
        return maker, tuple(contents(value)), (None, {**changed, **state}) if state else None

    def _elsewhere(self, value: Any) -> Any:
        """Of an installed or local module: by reference, unless it cannot be found there again."""
        if _is_importable(value):
            return NotImplemented
        if value in _NAMED_IN_TYPES:
            return getattr, (self.walk.module("types"), _NAMED_IN_TYPES[value])
        if is_reloaded(value):
            fact = f"is {value.__module__}.{value.__qualname__} as it was before its module was imported again"
            raise CannotTravelHere(value, (fact, "fit the model again"))
        return self._as_value(value, f"{value.__module__} does not offer it by name")

    # -- by value -------------------------------------------------------------------------------------------------

    def _as_value(self, value: Any, why: str | None) -> Any:
        import cloudpickle.cloudpickle as by_value

        if why is not None:
            self.walk.by_value.setdefault(id(value), (value, why))
        self.walk.modules.add("cloudpickle")
        if isinstance(value, type):
            self.walk.whole |= {id(inner) for item in vars(value).values() for inner in underlying(item)}
            return _relabelled(by_value._class_reduce(value))  # noqa: SLF001 - cloudpickle's pickler is bypassed, not its reducers
        self._list_globals(value)
        return _relabelled(by_value.Pickler._dynamic_function_reduce(self, value))  # noqa: SLF001 - as above

    def _function_getnewargs(self, value: FunctionType) -> Any:
        """Called by cloudpickle's reducer."""
        import cloudpickle.cloudpickle as by_value

        arguments = by_value.Pickler._function_getnewargs(self, value)  # noqa: SLF001 - as above
        if arguments[1].get("__name__") == "__main__":
            arguments[1].update(__name__=NAME)
            for name in ("__file__", "__path__", "__package__"):
                arguments[1].pop(name, None)
        return arguments

    def _list_globals(self, value: FunctionType) -> None:
        from nbdeploy.capture import lookups

        self.walk.modules |= lookups.imported(value.__code__)
        for name in lookups.used(value.__code__):
            held = value.__globals__.get(name)
            if isinstance(held, types.ModuleType):
                self.walk.modules.add(held.__name__)
        self.definitions.note_evaluated_text(value)

    def part_of_function(self, value: Any) -> Any:
        import cloudpickle.cloudpickle as by_value

        reducer: Callable[[Any], Any] | None = by_value.Pickler.dispatch_table.get(type(value))
        self.walk.modules.add("cloudpickle")
        return reducer(value) if reducer is not None else NotImplemented

    # -- the rest -------------------------------------------------------------------------------------------------

    def module(self, value: types.ModuleType) -> Any:
        if value.__name__ == "__main__":
            raise CannotTravelHere(value, ("is this notebook's own namespace", "name the variables it needs"))
        self.walk.modules.add(value.__name__)
        return importlib.import_module, (value.__name__,)

    def method(self, value: types.MethodType) -> Any:
        """A method of the object's class by name; one put on by hand as what it is made of."""
        name = value.__func__.__name__
        if getattr(type(value.__self__), name, None) is value.__func__ or isinstance(value.__self__, type):
            return NotImplemented
        maker = _Reference((getattr, (self.walk.module("types"), "MethodType")))
        return maker, (value.__func__, value.__self__)

    def cached(self, value: Any) -> Any:
        return self._own(value) if self.definitions.is_own(value) else NotImplemented

    def builtin(self, value: Any) -> Any:
        module = getattr(value, "__module__", None)
        if isinstance(module, str):
            self.walk.modules.add(module)
        return NotImplemented


class CannotTravelHere(Exception):
    def __init__(self, value: Any, fact: tuple[str, str]) -> None:
        super().__init__(fact[0])
        self.value, self.fact = value, fact


class _Reference:
    """Pickles as what `reduced` gives; callable, as pickle asks of a maker."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None:
        raise NotImplementedError("stands for something in the bundle")


def _is_importable(value: Any) -> bool:
    if value in _SINGLETON_TYPES:
        return True
    if value.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(value.__module__ or "")
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _method_of(function: FunctionType, scope: dict[str, Any]) -> type | None:
    """The notebook's class that has `function` as a plain or static method under its own name."""
    *owners, name = function.__qualname__.split(".")
    found: Any = scope.get(owners[0]) if owners and "<locals>" not in owners else None
    for part in owners[1:]:
        found = getattr(found, part, None)
    return found if isinstance(found, type) and getattr(found, name, None) is function else None


def _reaches_itself(function: FunctionType) -> bool:
    """Through variables of functions and tuples alone; objects and lists on the way pickle handles."""
    queue, seen = contents(function), set()
    for value in queue:
        if value is function:
            return True
        if id(value) in seen or not isinstance(value, FunctionType | tuple):
            continue
        seen.add(id(value))
        queue.extend(value if isinstance(value, tuple) else contents(value))
    return False


def _relabelled(reduced: Any) -> Any:
    """Cloudpickle's reduction without `__main__`, and without the identity it keeps for a running process."""
    if reduced is NotImplemented:
        return reduced
    maker, arguments, state, *rest = reduced
    arguments = tuple(_renamed(part) for part in arguments)
    if maker.__name__ in {"_make_skeleton_class", "_make_skeleton_enum"}:
        arguments = (*arguments[:-2], None, arguments[-1])
    return (maker, arguments, tuple(_renamed(part) for part in state), *rest)


def _renamed(part: Any) -> Any:
    if isinstance(part, dict) and part.get("__module__") == "__main__":
        return {**part, "__module__": NAME}
    return NAME if part == "__main__" and isinstance(part, str) else part


_NAMED_IN_TYPES = {
    value: name for name, value in vars(types).items() if isinstance(value, type) and value.__module__ == "builtins"
}
_SINGLETON_TYPES = (type(None), type(...), type(NotImplemented))
_REDUCERS: dict[type, Callable[[_Pickler, Any], Any]] = {
    FunctionType: _Pickler.function,
    types.ModuleType: _Pickler.module,
    types.MethodType: _Pickler.method,
    types.BuiltinFunctionType: _Pickler.builtin,
    _CACHED: _Pickler.cached,
    **dict.fromkeys((*_VIEWS, *_INSIDE_FUNCTIONS), _Pickler.part_of_function),
}
