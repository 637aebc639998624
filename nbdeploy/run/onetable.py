"""Parquet files of the log for others: all of them with the same columns and types, so that a folder is read as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.parquet import EXACT, WHOLE, quoted, text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    from nbdeploy.parquet import Reader

NOTHING = '"NULL"'  # DuckDB's type of a column without a value
NUMBERS = {*WHOLE, "DOUBLE"}


def kinds_of(heads: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Of the columns that rows have, by their names in a frame of the log; none of one that has two."""
    found: dict[str, set[str]] = {"row": {"integer"}}
    for head in heads:
        for name, kind in (head.get("columns") or {}).items():
            found.setdefault(f"input.{name}", set()).add(kind)
    return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}


def typed(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Numbers as their kind is, not as the values of this part happen to be: whole ones beside nulls, floats without a point."""
    changes = {
        name: _numbers(frame[name], whole=kind == "integer")
        for name, kind in kinds.items()
        if name in frame and kind in {"integer", "number"}
    }
    return frame.assign(**changes)


def _numbers(values: pd.Series[Any], *, whole: bool) -> pd.Series[Any]:
    if values.dtype == object and {type(value) for value in values.dropna()} == {int, float} and not whole:
        return values.astype("float64")
    if values.dtype.kind == "i" and not whole:
        return values.astype("float64")
    if values.dtype.kind == "f" and whole and _exact(values.dropna()):
        return values.astype("Int64")
    return values


def _exact(values: pd.Series[Any]) -> bool:
    return bool(((values % 1 == 0) & (values.abs() <= EXACT)).all())


def unify(reader: Reader, files: Mapping[Path, Collection[str]]) -> None:
    """Write anew those that differ from the rest: what a file has no values of is null in it. `files` with their columns of
    JSON texts; one that is of several kinds, be it in different files, is JSON in all of them.
    """
    told = [
        {name: "JSON" if name in as_json else kind for name, kind in _columns(reader, file).items()}
        for file, as_json in files.items()
    ]
    found: dict[str, set[str]] = {}
    for own in told:
        for name, kind in own.items():
            found.setdefault(name, set()).add(kind)
    if len({name.casefold() for name in found}) < len(found):
        return  # "Age" of one version and "age" of another: no table holds both
    common = {name: _common(kinds - {NOTHING}) for name, kinds in found.items()}
    for file, own in zip(files, told, strict=True):
        if list(own.items()) != list(common.items()):
            _rewrite(reader, file, own, common)


def _columns(reader: Reader, file: Path) -> dict[str, str]:
    return {name: kind for name, kind, *_ in reader.run("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)])}


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds:
        return "VARCHAR"
    return "DOUBLE" if kinds <= NUMBERS else "JSON"


def _rewrite(reader: Reader, file: Path, own: Mapping[str, str], common: Mapping[str, str]) -> None:
    chosen = ", ".join(
        f"{_cast(quoted(name), own.get(name, NOTHING), kind)} AS {quoted(name)}" for name, kind in common.items()
    )
    draft = file.with_name(f".{file.name}")
    source, target = text(str(file)), text(str(draft))
    try:
        reader.run(f"COPY (SELECT {chosen} FROM read_parquet({source})) TO {target} (FORMAT parquet)")  # noqa: S608 - quoted
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _cast(name: str, own: str, kind: str) -> str:
    """SQL of a column as it is in all files; JSON is text, in which an infinity is one too."""
    if kind != "JSON":
        return f"CAST({'NULL' if own == NOTHING else name} AS {kind})"
    if own in {NOTHING, "JSON"}:
        return f"CAST({'NULL' if own == NOTHING else name} AS VARCHAR)"
    written = f"CAST(to_json({name}) AS VARCHAR)"
    return f"CASE WHEN isinf({name}) THEN '\"' || {written} || '\"' ELSE {written} END" if own == "DOUBLE" else written
