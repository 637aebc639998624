"""Columns of JSON values as a Parquet file with real types, and back (the door to duckdb; pyarrow is no requirement)."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnsupportedData
from nbdeploy.runtime import times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

KEY = "nbdeploy"  # of the file's metadata
EXACT = 2**53
WHOLE = {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}  # types of whole numbers
FEW = 256  # different texts of a categorical column
_TEXTS = {"Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Column:
    """JSON values under a name; `unit` and `aware` where they are moments as ISO text."""

    name: str
    cells: Sequence[Any]
    unit: str | None = None
    aware: bool = False


def write(columns: Sequence[Column], about: dict[str, Any], file: Path) -> None:
    """`about` is kept with the file. Names that SQL cannot tell apart, or not write, get others in the file."""
    import duckdb
    import pandas as pd

    stored = stored_names([column.name for column in columns])
    kinds = [_kind(column) for column in columns]
    frame = pd.DataFrame(
        {
            f"c{place}": _ARRAYS[kind](column.cells)
            for place, (column, kind) in enumerate(zip(columns, kinds, strict=True))
        }
    )
    chosen = ", ".join(
        f"{_cast(kind, place)} AS {quoted(name)}" for place, (kind, name) in enumerate(zip(kinds, stored, strict=True))
    )
    described = [
        {"name": column.name, "stored": name, "kind": kind, "unit": column.unit, "aware": column.aware}
        for column, kind, name in zip(columns, kinds, stored, strict=True)
    ]
    note = json.dumps({"columns": described, **about}).replace("'", "''")
    target = str(file).replace("'", "''")
    with duckdb.connect() as connection:
        connection.register("given", frame)
        try:
            connection.execute(
                f"COPY (SELECT {chosen} FROM given) TO '{target}' (FORMAT parquet, USE_TMP_FILE false, KV_METADATA {{{KEY}: '{note}'}})"  # noqa: S608 - quoted above; COPY takes no parameters here
            )
        except duckdb.IOException as exc:
            raise OSError(str(exc)) from exc


def ours(file: Path) -> bool:
    """Whether `write` wrote it."""
    return file.suffix == ".parquet" and file.is_file() and bool(_notes(file))


def about(file: Path) -> dict[str, Any]:
    """What `write` was told, with "columns"."""
    found: dict[str, Any] = json.loads(_notes(file)[0][0])
    return found


def _notes(file: Path) -> list[tuple[bytes]]:
    import duckdb

    with duckdb.connect() as connection, _readable(file):
        sql = "SELECT value FROM parquet_kv_metadata(?) WHERE key = ?"
        found: list[tuple[bytes]] = connection.execute(sql, [str(file), KEY.encode()]).fetchall()
    return found


def read(file: Path, described: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The JSON values by name, as they were written."""
    import duckdb

    chosen = ", ".join(_SELECTED.get(item["kind"], "{}").format(quoted(item["stored"])) for item in described)
    with duckdb.connect() as connection, _readable(file):
        rows = connection.execute(f"SELECT {chosen} FROM read_parquet(?)", [str(file)]).fetchall()  # noqa: S608 - quoted
    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True) if rows else [() for _ in described]
    return {item["name"]: _restored(item, values) for item, values in zip(described, columns, strict=True)}


class Failed(Exception):
    """DuckDB could not do it; `run` and `copy` raise it."""


class Reader:
    """Many files of `write` as frames, over one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._known: dict[str, list[str] | None] = {}  # the different texts of a column, of the file that was read last

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            found: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        except duckdb.Error as exc:
            raise Failed(str(exc)) from exc
        return found

    def copy(self, sql: str, about: dict[str, Any], file: Path) -> None:
        """What `sql` selects as one file; `about` with its "columns" as `write` describes them."""
        note = f"KV_METADATA {{{KEY}: {text(json.dumps(about))}}}"
        self.run(f"COPY ({sql}) TO {text(str(file))} (FORMAT parquet, USE_TMP_FILE false, {note})")

    def save(self, frame: pd.DataFrame, file: Path) -> set[str]:
        """A frame as pandas has it, for others to read; objects that are of no one kind as JSON. The names of these columns."""
        kept = frame.copy()
        stored = stored_names([str(name) for name in kept.columns])
        as_json = set()
        for name, shown in zip(kept.columns, stored, strict=True):
            if kept[name].dtype == object:
                kept[name], kind = plain_column(kept[name])
                as_json |= {shown} if kind == "JSON" else set()
        self._connection.register("given", kept.set_axis([f"c{place}" for place in range(len(stored))], axis=1))
        chosen = ", ".join(f"c{place} AS {quoted(name)}" for place, name in enumerate(stored))
        self.run("SET TimeZone = 'UTC'")
        self.run(f"COPY (SELECT {chosen} FROM given) TO {text(str(file))} (FORMAT parquet)")  # noqa: S608 - quoted
        self._connection.unregister("given")
        return as_json

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Temporary tables and views made here are gone afterwards."""
        self.run("BEGIN")
        try:
            yield
        finally:
            self.run("ROLLBACK")

    def about(self, file: Path) -> dict[str, Any] | None:
        """None of a file that is not whole, or not ours."""
        import duckdb

        sql = "SELECT value FROM parquet_kv_metadata(?) WHERE key = ?"
        try:
            found = self._connection.execute(sql, [str(file), KEY.encode()]).fetchall()
        except duckdb.Error:
            return None
        told: dict[str, Any] | None = json.loads(found[0][0]) if found else None
        return told

    def frame(
        self,
        file: Path,
        described: Sequence[dict[str, Any]],
        where: str = "TRUE",
        values: Sequence[Any] = (),
        *,
        categories: bool = False,
    ) -> pd.DataFrame:
        """The described columns by name, as pandas has their types; `where` is SQL over the stored names and over
        file_row_number.

        With `categories` texts of few different values are categorical: a million of them need no million objects.
        """
        import duckdb
        import pandas as pd

        with _readable(file):
            try:
                coded = {item["name"]: self._texts(file, item) for item in described if categories}
                found = self._selected(file, described, coded, where, values)
            except duckdb.ConversionException:  # this file has others
                self._known = {}
                coded = {item["name"]: self._texts(file, item) for item in described if categories}
                found = self._selected(file, described, coded, where, values)
        columns = {}
        for item, cells in zip(described, found, strict=True):
            known = coded.get(item["name"])
            columns[item["name"]] = (
                _series(cells, from_json=item["kind"] == "JSON")
                if known is None
                else pd.Series(pd.Categorical.from_codes(cells, pd.Index(known)))
            )
        return pd.DataFrame(columns, columns=list(columns), copy=False)

    def _selected(
        self,
        file: Path,
        described: Sequence[dict[str, Any]],
        coded: Mapping[str, Sequence[str] | None],
        where: str,
        values: Sequence[Any],
    ) -> list[Any]:
        """An array of each column: as it is stored, or of the places of its texts in `coded`."""
        chosen = ", ".join(
            f"{_expression(item, coded.get(item['name']))} AS c{place}" for place, item in enumerate(described)
        )
        sql = f"SELECT {chosen} FROM read_parquet(?, file_row_number = true) WHERE {where}"  # noqa: S608 - quoted; `where` is ours
        found = self._connection.execute(sql, [str(file), *values]).fetchnumpy()
        return [found[f"c{place}"] for place in range(len(described))]

    def _texts(self, file: Path, item: dict[str, Any]) -> list[str] | None:
        """The different texts of a column, None where they are many or no texts; of neighbouring files mostly the same."""
        if item["kind"] != "VARCHAR":
            return None
        known = self._known.get(item["name"], [])
        if known == []:  # also where the file before had none: this one may
            known = self._known[item["name"]] = self._few(file, quoted(item["stored"]))
        return known

    def _few(self, file: Path, name: str) -> list[str] | None:
        sql = f"SELECT DISTINCT {name} FROM read_parquet(?) WHERE {name} IS NOT NULL LIMIT {FEW + 1}"  # noqa: S608 - quoted
        found = self._connection.execute(sql, [str(file)]).fetchall()
        return None if len(found) > FEW else sorted(value for (value,) in found)


def _expression(item: dict[str, Any], known: Sequence[str] | None) -> str:
    name = quoted(item["stored"])
    if known is None:
        return name
    if not known:
        return "-1"
    return f"coalesce(enum_code(CAST({name} AS ENUM ({', '.join(map(text, known))}))), -1)::INTEGER"


@contextmanager
def reading(threads: int | None = None) -> Iterator[Reader]:
    """With as many `threads` as there are processors, where none are named."""
    import duckdb

    with duckdb.connect(config={} if threads is None else {"threads": threads}) as connection:
        connection.execute("SET preserve_insertion_order = true")
        connection.execute("SET enable_external_file_cache = false")  # another file may come under the same name
        yield Reader(connection)


def plain_column(values: pd.Series[Any]) -> tuple[Any, str]:
    """Values of one kind as an array of that, others as their JSON; and the kind. Where there is no value there is none."""
    cells = [None if missing else value for value, missing in zip(values, values.isna(), strict=True)]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return values, ""
    kind = _kind(Column("", cells))
    if kind == "JSON" and not any(_rounds(cell) for cell in known):
        kind = "DOUBLE"  # whole numbers and others
    return _ARRAYS[kind](cells), kind


def _series(values: Any, *, from_json: bool) -> Any:
    """Nulls are NaN among numbers, None among all else."""
    import numpy as np
    import pandas as pd

    masked: Any = values
    if np.ma.is_masked(values):
        present = masked.compressed()
        whole = values.dtype.kind in "iu" and not _beyond_floats([present.min(), present.max()] if len(present) else [])
        numbers = values.dtype.kind == "f" or whole
        values = masked.data.astype(np.float64 if numbers else object)
        values[masked.mask] = np.nan if numbers else None
    elif isinstance(values, np.ma.MaskedArray):
        values = masked.data
    if from_json:
        values = _parsed(values)
    return pd.Series(values, dtype=object if from_json or values.dtype == object else values.dtype, copy=False)


def _parsed(texts: Sequence[Any]) -> list[Any]:
    """Single values once each, since most come again; a list or an object is each row's own."""
    once = {None: None} | {text: json.loads(text) for text in {*texts} - {None} if text[0] not in "[{"}
    return [once[text] if text in once else json.loads(text) for text in texts]


def plain(column: Column, before: str | None = None) -> Any:
    """The cells as `Reader.frame` would give them back, without a file. Those before them may be of another kind, a number:
    then these are numbers too where they can be.
    """
    import pandas as pd

    kind = _kind(column)
    if kind == "DOUBLE" or (before in {*WHOLE, "DOUBLE"} and _can_be_floats(column, whole=before in WHOLE)):
        return _doubles(column.cells)
    cells = list(column.cells)
    kept = kind not in {"BIGINT", "UBIGINT", "BOOLEAN"}
    if kind != "BOOLEAN" and not kept and None in cells:
        kept = _beyond_floats([cell for cell in cells if cell is not None])
    return pd.Series(cells, dtype=object if kept else None)


def _can_be_floats(column: Column, *, whole: bool) -> bool:
    """None of them a value, or all of them numbers that a float does not round."""
    values = [cell for cell in column.cells if cell is not None]
    return not values or not (whole or any(_rounds(value) for value in values))


def _rounds(value: Any) -> bool:
    if type(value) is int:
        return abs(value) > EXACT
    return type(value) is not float and not (type(value) is str and value in _TEXTS)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One below the other. Whole numbers that a float would round stay objects where a part has others, or none."""
    import pandas as pd

    parts = [frame for frame in frames if len(frame)] or list(frames)
    kinds = [dict(part.dtypes.items()) for part in parts]
    names = dict.fromkeys(name for kind in kinds for name in kind)
    unlike = [name for name in names if len({kind.get(name) for kind in kinds}) > 1]
    exact = {name for name in unlike if any(_rounded_by_floats(part, name) for part in parts)}
    if exact:
        parts = [part.astype(dict.fromkeys(exact & set(part.columns), object)) for part in parts]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0].reset_index(drop=True)


def _rounded_by_floats(part: pd.DataFrame, name: Any) -> bool:
    whole = name in part and part[name].dtype.kind in "iu"
    return whole and _beyond_floats([part[name].min(), part[name].max()])


def _beyond_floats(values: Sequence[int]) -> bool:
    """Whole numbers that a float would round: with nulls among them they stay objects."""
    return len(values) > 0 and (max(values) > EXACT or min(values) < -EXACT)


def frame(file: Path, *, exact: bool = False) -> Any:
    """Anybody's Parquet file as a pandas frame. `exact`: whole numbers beside nulls that floats would round are objects."""
    import duckdb

    with duckdb.connect() as connection, _readable(file):
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(file)]).df()
        kinds = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
        for name, kind, *_ in kinds if exact else ():
            if kind in WHOLE and found[name].dtype.kind == "f":
                cells = connection.execute(f"SELECT {quoted(name)} FROM read_parquet(?)", [str(file)]).fetchall()  # noqa: S608 - quoted
                found[name] = _exact(found[name], [cell for (cell,) in cells])
        return found


def _exact(rounded: pd.Series[Any], cells: Sequence[int | None]) -> pd.Series[Any]:
    import pandas as pd

    beyond = _beyond_floats([cell for cell in cells if cell is not None])
    return pd.Series(list(cells), index=rounded.index, dtype=object) if beyond else rounded


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as exc:
        raise UnsupportedData(str(file), f"cannot be read as Parquet ({exc})", "write it again") from exc


def _kind(column: Column) -> str:
    """How the values are stored, told by the values themselves."""
    values = [value for value in column.cells if value is not None]
    types = {type(value) for value in values}
    if types <= {str} and column.unit is not None:
        return "TIMESTAMP_NS" if column.unit == "ns" else "TIMESTAMP"
    if types <= {str}:
        return "VARCHAR" if all(_is_utf8(value) for value in values) else "JSON"
    if types == {bool}:
        return "BOOLEAN"
    if types == {int}:
        low, high = min(values), max(values)
        return "BIGINT" if low >= -(2**63) and high < 2**63 else "UBIGINT" if low >= 0 and high < 2**64 else "JSON"
    if types == {float} or (types == {float, str} and {v for v in values if type(v) is str} <= set(_TEXTS)):
        return "DOUBLE"
    return "JSON"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True


def _texts(values: Sequence[Any]) -> Any:
    import pandas as pd

    return pd.array(list(values), dtype=pd.StringDtype("python"))


def _json(values: Sequence[Any]) -> Any:
    return _texts([None if value is None else json.dumps(value) for value in values])


def _masked(dtype: str) -> Callable[[Sequence[Any]], Any]:
    def array(values: Sequence[Any]) -> Any:
        import pandas as pd

        return pd.array(list(values), dtype=dtype)  # type: ignore[call-overload] # a name of pandas' own

    return array


def _doubles(values: Sequence[Any]) -> Any:
    import numpy as np

    return np.array([math.nan if value is None else _TEXTS.get(value, value) for value in values], dtype=np.float64)


def _moments(values: Sequence[Any]) -> Any:
    return _texts([None if value is None else value.removesuffix("Z") for value in values])


_ARRAYS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "VARCHAR": _texts,
    "JSON": _json,
    "BOOLEAN": _masked("boolean"),
    "BIGINT": _masked("Int64"),
    "UBIGINT": _masked("UInt64"),
    "DOUBLE": _doubles,
    "TIMESTAMP": _moments,
    "TIMESTAMP_NS": _moments,
}
_SELECTED = {"TIMESTAMP": "epoch_us({})", "TIMESTAMP_NS": "epoch_ns({})"}


def _cast(kind: str, place: int) -> str:
    return f"CAST(c{place} AS {kind})" if kind in _SELECTED else f"c{place}"


def _restored(item: dict[str, Any], values: tuple[Any, ...]) -> list[Any]:
    restore = _RESTORED.get(item["kind"])
    if restore is None:
        return list(values)
    return [None if value is None else restore(item, value) for value in values]


def _moment(item: dict[str, Any], count: int) -> str:
    unit = "ns" if item["kind"] == "TIMESTAMP_NS" else "us"
    return times.moment_text(count, unit, aware=item["aware"])


def _double(item: dict[str, Any], value: float) -> Any:
    del item
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _loaded(item: dict[str, Any], text: str) -> Any:
    del item
    return json.loads(text)


_RESTORED: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "TIMESTAMP": _moment,
    "TIMESTAMP_NS": _moment,
    "DOUBLE": _double,
    "JSON": _loaded,
}


def stored_names(names: Sequence[str]) -> list[str]:
    """SQL takes "Age" and "age" for one name, and knows no empty one."""
    taken: set[str] = set()
    stored = []
    for place, name in enumerate(names):
        usable = name if name and "\0" not in name and name.casefold() not in taken else f"column {place}: {name}"
        usable = usable.replace("\0", "")
        while usable.casefold() in taken:
            usable += "_"
        taken.add(usable.casefold())
        stored.append(usable)
    return stored


def text(value: str) -> str:
    """As SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
