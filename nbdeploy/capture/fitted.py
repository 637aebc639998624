"""What a model was fitted on, as it says itself, beside the sample it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotAModel, UnsupportedData, WrongUse

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = ("numpy", "pandas", "polars")
SAMPLE = "the sample"


def refuse_no_model(model: Any, served: Sequence[str]) -> None:
    """Raises NotAModel for data, some of which has methods of the same names; WrongUse for a class."""
    kind = type(model)
    if isinstance(model, type):
        raise WrongUse(f"{model.__name__} is a class; deploy an object of it that was fitted.")
    if kind.__module__.partition(".")[0] in DATA:
        raise NotAModel(kind.__name__, served)


def refuse_one_row(model: Any, sample: Any) -> None:
    """Raises UnsupportedData for a row of a frame in the place of a frame."""
    labels = getattr(sample, "index", ()) if hasattr(sample, "iloc") and not hasattr(sample, "columns") else ()
    if columns_of(model) & {str(label) for label in labels}:
        raise UnsupportedData(SAMPLE, "is one row", "give a table: X.iloc[[0]] in the place of X.iloc[0]")


def refuse_target(model: Any, sample: Any, target: Any) -> None:
    """Raises UnsupportedData where the target is among the columns, and the model was not fitted on it."""
    for name in [] if target is None else unused(model, getattr(sample, "columns", ())):
        column = next(sample[label] for label in sample.columns if str(label) == name)
        if getattr(target, "name", None) == name or _same(target, column):
            advice = f"leave it out, or write --target {name}, which takes it out"
            raise UnsupportedData(SAMPLE, f'still has the target, as its column "{name}"', advice)


def columns_of(model: Any) -> set[str]:
    """The names scikit-learn keeps; empty where it keeps none."""
    try:
        found = model.feature_names_in_
    except Exception:  # noqa: BLE001 - a property of a foreign model may raise anything; then it says nothing
        return set()
    return {str(name) for name in found}


def unused(model: Any, columns: Sequence[Any]) -> list[str]:
    """Those of `columns` the model was not fitted on."""
    known = columns_of(model)
    return [str(label) for label in columns if str(label) not in known] if known else []


def warnings(model: Any, sample: Any) -> tuple[str, ...]:
    """Columns the model does without are asked of every caller."""
    names = unused(model, getattr(sample, "columns", ()))
    if not names:
        return ()
    step = "leave them out of the sample, or name them with --keys"
    return (f"The model was not fitted on {_listed(names)}, which every caller has to send: {step}.",)


def advice(model: Any, error: Exception, columns: Sequence[str]) -> str:
    """What to do about an error the model raised for the sample, whose `columns` these are."""
    if type(error).__name__ == "NotFittedError":
        return "fit it first"
    more, fewer = unused(model, columns), sorted(columns_of(model) - set(columns))
    told = [f"{word} {_listed(names)}" for word, names in (("has", more), ("lacks", fewer)) if names and columns]
    return f"give rows like those it was fitted on{': the sample ' if told else ''}{' and '.join(told)}"


def _same(target: Any, column: Any) -> bool:
    return len(getattr(target, "shape", (0,))) == 1 and bool(list(target) == list(column))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:8]) + (", ..." if len(names) > 8 else "")
