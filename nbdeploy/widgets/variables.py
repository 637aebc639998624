"""Which of the user's variables could be a model, a sample, labels; and which go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.front import expressions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIBRARIES = ("pandas", "polars", "numpy")  # other objects are not asked for a shape: some answer to every name


@dataclass(frozen=True)
class Table:
    """A variable with rows. `columns` are the labels of a frame; `width` is None for one value a row."""

    variable: str
    kind: str
    rows: int
    width: int | None
    columns: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """`X_train: DataFrame, 257 rows x 6 columns`."""
        wide = "" if self.width is None else f" x {self.width} column{'' if self.width == 1 else 's'}"
        return f"{self.variable}: {self.kind}, {self.rows} row{'' if self.rows == 1 else 's'}{wide}"


@dataclass(frozen=True)
class Variables:
    models: tuple[str, ...]
    tables: tuple[Table, ...]
    fitted_on: Mapping[str, tuple[str, ...]]  # by model, where it knows

    @classmethod
    def of(cls, namespace: Mapping[str, Any]) -> Variables:
        tables = [table for name in expressions.variables(namespace) if (table := _table(name, namespace[name]))]
        held = {table.variable for table in tables}
        models = [name for name in expressions.models(namespace) if name not in held]  # a frame has a transform too
        fitted = {model: _fitted_on(namespace[model]) for model in models}
        known = {key: names for key, names in fitted.items() if names}
        return cls(tuple(sorted(models, key=lambda model: model not in known)), tuple(tables), known)

    @property
    def samples(self) -> tuple[Table, ...]:
        return tuple(table for table in self.tables if table.width is not None or table.kind == "list")

    def table(self, variable: str) -> Table | None:
        return next((table for table in self.tables if table.variable == variable), None)

    def sample_for(self, model: str) -> str:
        """The frame the model was fitted on, as far as names tell; "" where nothing looks like it."""
        known = self.fitted_on.get(model)
        fits = [table for table in self.samples if known is None or table.columns == known]
        return next((t.variable for t in sorted(fits, key=lambda t: "train" not in t.variable.lower())), "")

    def labels_for(self, sample: str) -> tuple[Table, ...]:
        """One value a row, as many as the sample has rows; those named like it first."""
        rows = self.table(sample)
        if rows is None:
            return ()
        fits = [t for t in self.tables if t.width in {None, 1} and t.rows == rows.rows and t.variable != sample]
        return tuple(sorted(fits, key=lambda t: _tail(t.variable) != _tail(sample)))

    def held_out_for(self, sample: str) -> tuple[str, ...]:
        """`X_test,y_test`: other rows with the sample's columns, and labels of that length named like them."""
        own = self.table(sample)
        if own is None:
            return ()
        others = [t for t in self.samples if t.variable != sample and (t.width, t.columns) == (own.width, own.columns)]
        return tuple(
            f"{rows.variable},{labels.variable}"
            for rows in others
            for labels in self.labels_for(rows.variable)
            if _tail(labels.variable) == _tail(rows.variable)
        )


def _table(name: str, value: Any) -> Table | None:
    kind = type(value)
    if kind is list and value:
        return Table(name, "list", len(value), len(value[0]) if isinstance(value[0], dict | list | tuple) else None)
    if kind.__module__.partition(".")[0] not in LIBRARIES or not hasattr(value, "shape"):
        return None
    shape = value.shape
    if not isinstance(shape, tuple) or not shape or len(shape) > 2 or not shape[0]:
        return None
    columns = _names(value.columns) if hasattr(value, "columns") else ()
    return Table(name, kind.__name__, int(shape[0]), int(shape[1]) if len(shape) == 2 else None, columns)


def _fitted_on(model: Any) -> tuple[str, ...]:
    try:
        return _names(getattr(model, "feature_names_in_", ()))
    except Exception:  # noqa: BLE001  # the user's own property may raise anything; such a model does not know
        return ()


def _names(labels: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(label) for label in labels)


def _tail(variable: str) -> str:
    """`train` of `X_train`."""
    return variable.partition("_")[2].lower()
