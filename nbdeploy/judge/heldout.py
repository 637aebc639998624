"""Held-out rows: as the user gives them, as one Parquet file for the gate notebook, and read back there as they were."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.capture.columns import length
from nbdeploy.capture.fingerprint import fingerprint
from nbdeploy.capture.schema import infer, without_keys
from nbdeploy.errors import NotFound, UnsupportedData, WrongUse, an, did_you_mean
from nbdeploy.runtime.checks import unit_of
from nbdeploy.runtime.manifest import schema_from
from nbdeploy.runtime.tables import build, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.runtime.manifest import Schema

TARGET = "target"  # the column's name where the labels have none
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".json", ".jsonl")
_HERE = "the held-out data"


@dataclass(frozen=True)
class HeldOut:
    """`rows` as the model is asked, `target` their labels or None; `target_name` is "" exactly where there is none."""

    rows: Any
    target: Any = None
    target_name: str = ""
    path: str = ""  # where the user had it, if in a file

    def facts(self) -> dict[str, Any]:
        """{"path", "rows", "columns", "fingerprint", "target"} for the report."""
        told = fingerprint(self.rows)
        return {
            "path": self.path,
            "rows": told["rows"],
            "columns": told["columns"],
            "fingerprint": "sha256:" + told["sha256"],
            "target": self.target_name,
        }


def held_out(
    data: Any, target: Any = None, *, schema: Schema | None = None, recorded: str | None = None, required: bool = False
) -> HeldOut:
    """`data` is D, (X, y) or a path (of each); `target` the label's column in D, or labels whose name it has.

    `schema` is the model's: how a file's columns are to be read. `recorded` is the target's name the bundle knows.
    `required`: without labels there is nothing to judge.

    Raises:
        UnsupportedData, NotFound, WrongUse.
    """
    if isinstance(data, str | Path) and parquet.ours(Path(data)):
        return read(data)
    rows, labels = _pair(data)
    path = ", ".join(str(part) for part in _parts(data) if isinstance(part, str | Path))
    rows = _table(rows, schema)
    if not hasattr(rows, "shape") and not isinstance(rows, list):
        raise UnsupportedData(
            _HERE, f"is {an(type(rows).__name__)}", "give a table like the model's sample, (X, y), or a file's path"
        )
    if labels is not None:
        labels = _labels(_table(labels, None))
        _same_length(rows, labels)
        name = _free(_name(labels) or _name(target) or recorded or TARGET, rows)
        return HeldOut(rows, labels, name, path)
    column = _target_column(rows, target, schema, recorded, required=required)
    if column is None:
        return HeldOut(_fitted(rows, schema), path=path)
    labels = [row[column] for row in rows] if isinstance(rows, list) else rows[column]
    return HeldOut(_fitted(without_keys(rows, (str(column),)), schema), labels, str(column), path)


def check_files(data: Any) -> None:
    """Raises NotFound, UnsupportedData: for a file that is not there, or no table; before anything else is done."""
    for part in _pair(data):
        if isinstance(part, str | Path):
            _existing(Path(part))


def write(held: HeldOut, file: Path) -> None:
    """One Parquet file: the rows' columns, then the target's. `read` gives the same values back."""
    schema, columns = _columns(held.rows, _HERE)
    about: dict[str, Any] = {"schema": asdict(schema), "target": None}
    if held.target is not None:
        labels, targets = _columns(held.target, "the target of the held-out data")
        if len(targets) == 1:
            targets = [replace(targets[0], name=held.target_name)]
        else:
            targets = [replace(item, name=f"{held.target_name}.{item.name}") for item in targets]
        about |= {"target": asdict(labels), "target_name": held.target_name, "target_columns": len(targets)}
        columns += targets
    parquet.write(columns, about, file)


def read(file: str | Path, target: str = "", *, schema: Schema | None = None) -> HeldOut:
    """What `write` wrote; or any CSV, Parquet or JSON file with the column `target`."""
    path = Path(file)
    if not parquet.ours(path):
        return held_out(path, target or None, schema=schema)
    about = parquet.about(path)
    values = parquet.read(path, about["columns"])
    names = [item["name"] for item in about["columns"]]
    count = about.get("target_columns", 0)
    rows = _rebuilt(schema_from(about["schema"]), [values[name] for name in names[: len(names) - count]])
    if not count:
        return HeldOut(rows, path=str(path))
    labels = _rebuilt(schema_from(about["target"]), [values[name] for name in names[-count:]])
    return HeldOut(rows, labels, about["target_name"], str(path))


# what the user gave


def _parts(data: Any) -> Sequence[Any]:
    return data if isinstance(data, tuple) else (data,)


def _pair(data: Any) -> tuple[Any, Any]:
    parts = _parts(data)
    if isinstance(data, str) and "," in data and not Path(data).exists():
        parts = tuple(part.strip() for part in data.split(","))
    if len(parts) not in {1, 2}:
        raise WrongUse(f"--data was given {len(parts)} parts; give one table with its target, or X_test,y_test.")
    return parts[0], parts[1] if len(parts) == 2 else None


def _table(data: Any, schema: Schema | None) -> Any:
    return _from_file(Path(data), schema) if isinstance(data, str | Path) else data


def _from_file(path: Path, schema: Schema | None) -> Any:
    name = _existing(path)
    if name.endswith(".parquet"):
        return _typed(parquet.frame(path), schema)
    import pandas as pd

    try:
        if name.endswith((".json", ".jsonl")):
            found = pd.DataFrame(_records(path.read_text(encoding="utf-8"), lines=name.endswith("l")))
        else:
            texts = dict.fromkeys(_texts(schema), str)
            found = pd.read_csv(path, sep="\t" if name.endswith(".tsv") else ",", dtype=texts)
    except (ValueError, UnicodeDecodeError, OSError) as exc:  # pandas' parser errors are ValueErrors
        raise UnsupportedData(str(path), f"cannot be read ({exc})", "mend the file") from exc
    return _typed(found, schema)


def _existing(path: Path) -> str:
    """The file's name in small letters."""
    if not path.is_file():
        raise NotFound("data file", str(path), [str(item) for item in _tables_beside(path)])
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise UnsupportedData(str(path), "is no table this reads", f"give a file ending in {', '.join(SUFFIXES)}")
    return name


def _records(text: str, *, lines: bool) -> Any:
    return [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)


def _tables_beside(path: Path) -> list[Path]:
    if not path.parent.is_dir():
        return []
    return sorted(item for item in path.parent.iterdir() if item.name.lower().endswith(SUFFIXES))


def _texts(schema: Schema | None) -> list[str]:
    """Columns that are texts to the model, whatever a file's values look like: 007 is no number there."""
    columns = schema.columns if schema is not None and schema.keyed else ()
    return [
        column.name
        for column in columns
        if column.kind == "text"
        or (column.kind == "category" and all(isinstance(value, str) for value in column.categories or ()))
    ]


def _typed(frame: Any, schema: Schema | None) -> Any:
    """Moments and durations of a file's texts, where the model's columns are such."""
    import pandas as pd

    for column in schema.columns if schema is not None else ():
        if column.name not in frame.columns or frame[column.name].dtype.kind in "Mm":
            continue
        try:
            if column.kind == "datetime":
                aware = unit_of(column.dtype)[1]
                frame[column.name] = pd.to_datetime(frame[column.name], utc=aware, format="ISO8601")
            elif column.kind == "timedelta":
                frame[column.name] = pd.to_timedelta(frame[column.name])
        except (ValueError, TypeError) as exc:
            what = "dates and times" if column.kind == "datetime" else "durations"
            raise UnsupportedData(
                f'column "{column.name}" of {_HERE}', f"holds no {what} ({exc})", "write them as ISO 8601"
            ) from exc
    return frame


def _fitted(rows: Any, schema: Schema | None) -> Any:
    """A file with one column, for a model that is asked with single values."""
    single = schema is not None and schema.container in {"series", "texts", "values"}
    if single and getattr(rows, "ndim", 0) == 2 and rows.shape[1] == 1 and hasattr(rows, "iloc"):
        return rows.iloc[:, 0]
    return rows


# the target


def _target_column(rows: Any, target: Any, schema: Schema | None, recorded: str | None, *, required: bool) -> Any:
    """The label of the column that holds the labels, None where there is none."""
    there = _labels_of(rows)
    wanted = target if isinstance(target, str) else _name(target)
    if wanted is None and recorded is not None and recorded in map(str, there):
        wanted = recorded
    if wanted is None:
        if required:
            raise _no_target(there, schema, "has no labels: name their column with --target COLUMN")
        return None
    found = next((label for label in there if str(label) == wanted), None)
    if found is None:
        if not required and not isinstance(target, str):
            return None
        near = did_you_mean(wanted, [str(label) for label in there])
        raise _no_target(
            there, schema, f'has no column "{wanted}", as the labels are called:{near} give that name to theirs'
        )
    return found


def _no_target(there: Sequence[Any], schema: Schema | None, fact: str) -> WrongUse:
    known = {column.name for column in schema.columns} if schema is not None else set()
    more = [str(label) for label in there if str(label) not in known]
    hint = f" It holds beside the model's columns: {', '.join(more[:8])}." if more else ""
    return WrongUse(f"{_HERE} {fact}, or give --data X_test,y_test.{hint}")


def _labels_of(rows: Any) -> list[Any]:
    if isinstance(rows, list):
        return list(rows[0]) if rows and isinstance(rows[0], dict) else []
    return list(getattr(rows, "columns", ()))


def _labels(labels: Any) -> Any:
    """One column of labels as a Series."""
    if getattr(labels, "ndim", 1) == 2 and labels.shape[1] == 1:
        return labels.iloc[:, 0] if hasattr(labels, "iloc") else labels[:, 0]
    return labels


def _name(labels: Any) -> str | None:
    name = getattr(labels, "name", None)
    return str(name) if isinstance(name, str | int) and str(name) else None


def _free(name: str, rows: Any) -> str:
    """The target's name, changed where the rows have a column of that name."""
    taken = {str(label) for label in _labels_of(rows)}
    while name in taken:
        name += "_target"
    return name


def _same_length(rows: Any, labels: Any) -> None:
    try:
        there, wanted = length(labels), length(rows)
    except TypeError:  # no table: named where it is looked at
        return
    if there != wanted:
        raise UnsupportedData(
            _HERE, f"has {wanted} rows and {there} labels", "give one label for each row, in their order"
        )


# columns of JSON values


def _columns(data: Any, where: str) -> tuple[Schema, list[parquet.Column]]:
    try:
        schema = infer(data)
        rows = rows_of(schema, data)
    except UnsupportedData as exc:
        told = exc.where.replace("the sample", where) if "the sample" in exc.where else f"{exc.where} of {where}"
        raise UnsupportedData(told, exc.fact, exc.advice) from exc
    except (TypeError, ValueError) as exc:
        raise UnsupportedData(where, f"cannot be written: {exc}", "give a table like the model's sample") from exc
    return schema, [
        parquet.Column(column.name, values, *_moments(column))
        for column, values in zip(schema.columns, _cells(schema, rows), strict=True)
    ]


def _moments(column: Any) -> tuple[str | None, bool]:
    return unit_of(column.dtype) if column.kind == "datetime" and "64[" in column.dtype else (None, False)


def _cells(schema: Schema, rows: list[Any]) -> list[list[Any]]:
    if schema.keyed:
        return [[row[column.name] for row in rows] for column in schema.columns]
    if _positional(schema):
        return [[row[place] for row in rows] for place in range(len(schema.columns))]
    return [rows]


def _rebuilt(schema: Schema, columns: list[list[Any]]) -> Any:
    if schema.keyed:
        names = [column.name for column in schema.columns]
        return build(schema, [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
    if _positional(schema):
        return build(schema, [list(row) for row in zip(*columns, strict=True)])
    return build(schema, columns[0])


def _positional(schema: Schema) -> bool:
    """An array with a column for each place of a row."""
    return schema.container == "array" and len(schema.shape) == 1 and len(schema.columns) == schema.shape[0]
