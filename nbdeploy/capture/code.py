"""A live model as bytes that load elsewhere: its pickle, and the code of the notebook it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CannotTravel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.capture.define import Definitions
    from nbdeploy.capture.notebook import Notebook
    from nbdeploy.capture.walk import Walk

DATA_WARNED, DATA_REFUSED = 1_000_000, 50_000_000  # bytes of variables that travel with the code
_SERVED = ("predict", "transform")  # a model kept in a variable is meant to travel, whatever its size


@dataclass(frozen=True)
class Definition:
    """`kind`: function, class, lambda or closure; `cell` is "In[3]"; `by` is "source" or "value"."""

    name: str
    kind: str
    cell: str
    by: str = "source"


@dataclass(frozen=True)
class CapturedModel:
    """`pickle` loads with plain `pickle.load` where the folder with `files` is on `sys.path`.

    `modules` are those the pickle and the code import, without what `files` brings. `data` are variables of the
    notebook that travel as files: name, type, bytes. `same_minor`: something holds bytecode, so the Python minor
    version must be the kernel's.
    """

    pickle: bytes
    files: Mapping[str, bytes]
    modules: frozenset[str]
    definitions: tuple[Definition, ...] = ()
    local_modules: tuple[tuple[str, str, str], ...] = ()
    data: tuple[tuple[str, str, int], ...] = ()
    warnings: tuple[str, ...] = ()
    same_minor: bool = False


def capture_model(model: Any, *, shell: Any = None) -> CapturedModel:
    """Raises CannotTravel, naming the object, for what works only in this kernel."""
    from nbdeploy.capture.notebook import Notebook

    return _Capture(Notebook(shell)).run(model)


class _Capture:
    def __init__(self, notebook: Notebook) -> None:
        from nbdeploy.capture.define import Definitions
        from nbdeploy.capture.walk import Walk

        self.notebook = notebook
        self.data: dict[str, tuple[str, bytes, bool]] = {}
        self.definitions: Definitions = Definitions(notebook, self._store)
        self.walk: Walk = Walk(self.definitions)

    def run(self, model: Any) -> CapturedModel:
        from nbdeploy.capture.local import LocalModules, is_local
        from nbdeploy.capture.patches import refuse_patches

        data, _ = self.walk.dumps(model)
        files = self._module_files()
        self._refuse_names_in_text()
        modules = self.walk.modules | self.definitions.modules
        local = LocalModules()
        local.add(modules)
        modules |= local.imports
        refuse_patches(self.walk.classes, modules, self.notebook)
        return CapturedModel(
            pickle=data,
            files={**files, **local.files},
            modules=frozenset(name for name in modules if _is_foreign(name) and not is_local(name)),
            definitions=self._definitions(),
            local_modules=tuple(local.copied),
            data=tuple((name, kind, len(content)) for name, (kind, content, _) in self._kept_data().items()),
            warnings=(*self.definitions.warnings, *self._warnings()),
            same_minor=bool(self.walk.by_value),
        )

    def _store(self, name: str, value: Any) -> set[str]:
        content, names = self.walk.dumps(value)
        self.data[name] = (type(value).__name__, content, any(hasattr(value, method) for method in _SERVED))
        return names

    def _kept_data(self) -> dict[str, tuple[str, bytes, bool]]:
        """Without what belonged to a definition that was given up."""
        nodes = self.definitions.nodes
        return {name: entry for name, entry in self.data.items() if name in nodes and nodes[name].kind == "data"}

    def _module_files(self) -> dict[str, bytes]:
        from nbdeploy.capture.module import DATA_FOLDER, NAME, Cycle, render

        if not self.definitions.nodes:
            return {}
        kept = self._kept_data()
        self._refuse_large(kept)
        try:
            text = render(self.definitions.nodes, future_annotations=self.definitions.future_annotations)
        except Cycle as exc:
            advice = "define them in a .py module beside the notebook and import them"
            raise CannotTravel(str(exc), "need each other while they are defined", advice) from exc
        compile(text, f"{NAME}.py", "exec", dont_inherit=True)
        return {
            f"{NAME}.py": text.encode(),
            **{f"{DATA_FOLDER}/{name}.pkl": content for name, (_, content, _) in kept.items()},
        }

    def _refuse_large(self, kept: dict[str, tuple[str, bytes, bool]]) -> None:
        sizes = {name: len(content) for name, (_, content, is_model) in kept.items() if not is_model}
        if sum(sizes.values()) > DATA_REFUSED:
            largest = max(sizes, key=sizes.__getitem__)
            who = self._user_of(largest)
            fact = (
                f"({kept[largest][0]}, {sizes[largest] / 1e6:.0f} MB) would travel with the model because {who} uses it"
            )
            raise CannotTravel(
                largest, fact, "give the code only what it needs of it", self.definitions.nodes[largest].label or None
            )

    def _user_of(self, name: str) -> str:
        users = self.definitions.users.get(name)
        return users or "code of the model"

    def _refuse_names_in_text(self) -> None:
        for name, (who, how, cell) in self.definitions.in_text.items():
            if name not in self.definitions.nodes:
                raise CannotTravel(
                    who, f"uses {name} only inside text given to {how}", f"write {name} in the code itself", cell
                )

    def _definitions(self) -> tuple[Definition, ...]:
        kinds = {"function", "class", "lambda", "closure"}
        found = [Definition(n.name, n.kind, n.label) for n in self.definitions.nodes.values() if n.kind in kinds]
        for value, _ in self.walk.by_value.values():
            kind = "class" if isinstance(value, type) else "lambda" if value.__name__ == "<lambda>" else "function"
            found.append(Definition(value.__qualname__, kind, self._label(value), "value"))
        return tuple(found)

    def _label(self, value: Any) -> str:
        from nbdeploy.capture.travel import cell_of

        return cell_of(value, self.notebook) or ""

    def _warnings(self) -> list[str]:
        found = [
            f"{value.__qualname__} travels as bytecode, because {why}: it needs the same Python minor version"
            for value, why in self.walk.by_value.values()
        ]
        for name, (kind, content, is_model) in self._kept_data().items():
            if len(content) > DATA_WARNED and not is_model:
                found.append(
                    f"{name} ({kind}, {len(content) / 1e6:.1f} MB) travels with the model because {self._user_of(name)} uses it"
                )
        return found


def _is_foreign(name: str) -> bool:
    return name.partition(".")[0] not in {
        "builtins",
        "__main__",
        "notebook_code",
        "nbdeploy_runtime",
    } and not name.startswith("nbdeploy.runtime")
