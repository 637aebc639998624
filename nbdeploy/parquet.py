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
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

KEY = "nbdeploy"  # of the file's metadata
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

    stored = _stored_names([column.name for column in columns])
    kinds = [_kind(column) for column in columns]
    frame = pd.DataFrame(
        {
            f"c{place}": _ARRAYS[kind](column.cells)
            for place, (column, kind) in enumerate(zip(columns, kinds, strict=True))
        }
    )
    chosen = ", ".join(
        f"{_cast(kind, place)} AS {_quoted(name)}" for place, (kind, name) in enumerate(zip(kinds, stored, strict=True))
    )
    described = [
        {"name": column.name, "stored": name, "kind": kind, "unit": column.unit, "aware": column.aware}
        for column, kind, name in zip(columns, kinds, stored, strict=True)
    ]
    note = json.dumps({"columns": described, **about}).replace("'", "''")
    target = str(file).replace("'", "''")
    with duckdb.connect() as connection:
        connection.register("given", frame)
        connection.execute(
            f"COPY (SELECT {chosen} FROM given) TO '{target}' (FORMAT parquet, KV_METADATA {{{KEY}: '{note}'}})"  # noqa: S608 - quoted above; COPY takes no parameters here
        )


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

    chosen = ", ".join(_SELECTED.get(item["kind"], "{}").format(_quoted(item["stored"])) for item in described)
    with duckdb.connect() as connection, _readable(file):
        rows = connection.execute(f"SELECT {chosen} FROM read_parquet(?)", [str(file)]).fetchall()  # noqa: S608 - quoted
    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True) if rows else [() for _ in described]
    return {item["name"]: _restored(item, values) for item, values in zip(described, columns, strict=True)}


class Reader:
    """Many files of `write` as frames, over one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

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
        self, file: Path, described: Sequence[dict[str, Any]], where: str = "TRUE", values: Sequence[Any] = ()
    ) -> pd.DataFrame:
        """The described columns by name, as pandas has their types; `where` is SQL over the stored names."""
        chosen = ", ".join(f"{_quoted(item['stored'])} AS c{place}" for place, item in enumerate(described))
        sql = f"SELECT {chosen} FROM read_parquet(?) WHERE {where}"  # noqa: S608 - quoted; `where` is ours
        with _readable(file):
            found: pd.DataFrame = self._connection.execute(sql, [str(file), *values]).df()
        for place, item in enumerate(described):
            if item["kind"] == "JSON":
                texts = found[f"c{place}"].astype(object)
                found[f"c{place}"] = texts.map(lambda text: json.loads(text) if isinstance(text, str) else None)
        return found.set_axis([item["name"] for item in described], axis=1)


@contextmanager
def reading() -> Iterator[Reader]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = true")
        yield Reader(connection)


def plain(column: Column) -> Any:
    """The cells as `Reader.frame` would give them back, without a file."""
    return _doubles(column.cells) if _kind(column) == "DOUBLE" else list(column.cells)


def frame(file: Path) -> Any:
    """Anybody's Parquet file as a pandas frame."""
    import duckdb

    with duckdb.connect() as connection, _readable(file):
        return connection.execute("SELECT * FROM read_parquet(?)", [str(file)]).df()


class _readable:  # noqa: N801 - used as a word of the with statement
    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import duckdb

        if isinstance(error, duckdb.Error):
            raise UnsupportedData(str(self.file), f"cannot be read as Parquet ({error})", "write it again") from error


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


def _stored_names(names: Sequence[str]) -> list[str]:
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


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
