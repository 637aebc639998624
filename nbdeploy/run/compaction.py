"""The Parquet copy of a segment: its lines checked one by one, then read as JSON by DuckDB.

A segment of an older runtime, which does not say what its columns are, and what DuckDB cannot read, is read line by line
(segments.table): several times slower, and the same table.
"""

from __future__ import annotations

import os
import secrets
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.parquet import EXACT, quoted, stored_names, text
from nbdeploy.runtime.records import HEAD, parse
from nbdeploy.runtime.retention import DRAFT
from nbdeploy.runtime.segments import is_growing, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOM = 16 * 2**20  # bytes of a line that DuckDB expects anyway
# What each kind of a schema's column is in JSON, and so in the copy; the others are looked at, value by value.
_TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "text": "VARCHAR",
    "datetime": "VARCHAR",
    "timedelta": "VARCHAR",
}
_BITS = {"VARCHAR": 1, "BIGINT": 2, "UBIGINT": 4, "DOUBLE": 8, "BOOLEAN": 16}
_OTHER, _MISSING = 32, 64
_KINDS = {0: "VARCHAR", 1: "VARCHAR", 2: "BIGINT", 4: "BIGINT", 6: "BIGINT", 16: "BOOLEAN"}
_REQUEST = {
    "time": "DOUBLE",
    "request_id": "VARCHAR",
    "version": "VARCHAR",
    "schema": "VARCHAR",
    "method": "VARCHAR",
    "status": "BIGINT",
    "milliseconds": "DOUBLE",
    "code": "VARCHAR",
    "count": "BIGINT",
    "refused": "VARCHAR[]",
    "predictions": "JSON[]",
}
_SOUND = " AND ".join(f"{name} IS NOT NULL" for name in list(_REQUEST)[:7]) + " AND time >= 0 AND time < 253402300800"


@dataclass
class Checked:
    """What a segment holds, once its whole lines were written to a file without their sums."""

    bytes: int = 0
    torn: int = 0
    damaged: int = 0
    longest: int = 0
    end: tuple[int, int] = (0, 0)
    heads: list[dict[str, Any]] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, str] | None:
        """A kind for each column of the rows; None where the segment does not say so, or twice."""
        return self.heads[0].get("columns") if len(self.heads) == 1 else None

    @property
    def element(self) -> str | None:
        """The kind of rows that are lists of numbers."""
        return self.heads[0].get("element")

    @property
    def keys(self) -> list[str]:
        return list(self.heads[0].get("keys", ()))


def checked(path: Path, target: Path) -> Checked:
    found = Checked()
    marks = b'{"%s":' % HEAD.encode(), b'{"%s": ' % HEAD.encode()
    last = b""
    with os.fdopen(opened(path), "rb") as file, target.open("wb") as out:
        for line in file:
            if not line.endswith(b"\n"):
                if not is_growing(file.fileno()):
                    found.torn, found.bytes, last = 1, found.bytes + len(line), line
                break
            found.bytes, last = found.bytes + len(line), line
            payload = line[9:-1]
            if line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(payload):
                found.damaged += 1
            elif payload.startswith(marks):
                found.heads.append(parse(line[:-1]) or {})
            else:
                out.write(line[9:])
                found.longest = max(found.longest, len(payload))
    found.end = (len(last), zlib.crc32(last))
    return found


def convert(reader: parquet.Reader, path: Path, target: Path, worker: int, form: int) -> bool:
    """Write the copy; False where DuckDB cannot make it."""
    with _draft(path) as lines:
        found = checked(path, lines)
        columns = found.columns
        if columns is None or not _sayable([*columns, *found.keys]):
            return False
        try:
            with reader.scratch():
                _load(reader, lines, columns, found)
                about = {"format": form, "bytes": found.bytes, "torn": found.torn, "end": found.end}
                about["heads"] = found.heads
                reader.copy(*_flattened(reader, columns, found, about, worker), target)
        except parquet.Failed:
            return False
    return True


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    draft = path.with_name(f"{DRAFT}{path.stem}.{secrets.token_hex(4)}")
    fd = opened(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        yield held(fd, draft)
    finally:
        os.close(fd)
        draft.unlink(missing_ok=True)


def held(fd: int, path: Path) -> Path:
    """A name of the open file that stays its own, whatever is put in its place; on other systems than Linux its path."""
    name = Path(f"/proc/self/fd/{fd}")
    return name if name.exists() else path


def _sayable(names: list[str]) -> bool:
    """DuckDB tells no capitals from small letters, and knows no empty name."""
    return all(name and "\0" not in name for name in names) and len({name.casefold() for name in names}) == len(names)


def _load(reader: parquet.Reader, lines: Path, columns: Mapping[str, str], found: Checked) -> None:
    """The table `requests`."""
    fields = dict(_REQUEST)
    fields["rows"] = "JSON[]" if found.element is None else f"{_TYPES[found.element]}[][]"
    if columns:
        fields["rows"] = _struct({name: _TYPES.get(kind, "JSON") for name, kind in columns.items()})
    if found.keys:
        fields["keys"] = _struct(dict.fromkeys(found.keys, "JSON"))
    spec = ", ".join(f"{name}: {text(kind)}" for name, kind in fields.items())
    reader.run(
        f"CREATE TEMP TABLE requests AS SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{spec}}}, "  # noqa: S608 - quoted
        f"maximum_object_size = {max(ROOM, found.longest + 1_000)})",
        [str(lines)],
    )


def _struct(fields: Mapping[str, str]) -> str:
    return "STRUCT(" + ", ".join(f"{quoted(name)} {kind}" for name, kind in fields.items()) + ")[]"


def _flattened(
    reader: parquet.Reader, columns: Mapping[str, str], found: Checked, about: dict[str, Any], worker: int
) -> tuple[str, dict[str, Any]]:
    """The SQL of the copy, and what is said about it."""
    ((bad, first, last),) = reader.run(
        f"SELECT count(*) FILTER (NOT coalesce({_SOUND}, false)), "  # noqa: S608 - ours
        f"min(round(time * 1e6)::BIGINT) FILTER ({_SOUND}), max(round(time * 1e6)::BIGINT) FILTER ({_SOUND}) FROM requests"
    )
    reader.run(_flat(columns, found.keys))
    looked_at = {f"k{place}": name for place, name in enumerate(found.keys)}
    looked_at |= {f"r{place}": name for place, (name, kind) in enumerate(columns.items()) if kind not in _TYPES}
    kinds = _kinds(reader, ["prediction", *looked_at])
    made: list[tuple[str, str, str]] = [(name, sql, kind) for name, (sql, kind) in _fixed(worker).items()]
    made += [("prediction", _cell("prediction", kinds["prediction"]), kinds["prediction"])]
    made += [
        (f"key.{name}", _cell(f"k{place}", kinds[f"k{place}"]), kinds[f"k{place}"])
        for place, name in enumerate(found.keys)
    ]
    for place, (name, said) in enumerate(columns.items()):
        kind = kinds.get(f"r{place}") or _TYPES[said]
        made.append((f"input.{name}", _cell(f"r{place}", kind) if said not in _TYPES else f"r{place}", kind))
    if not columns:
        made.append(("input", *_list(reader, found.element)))
    stored = stored_names([name for name, _, _ in made])
    described = [
        {"name": name, "stored": as_, "kind": kind, "unit": None, "aware": False}
        for (name, _, kind), as_ in zip(made, stored, strict=True)
    ]
    chosen = ", ".join(f"{sql} AS {quoted(as_)}" for (_, sql, _), as_ in zip(made, stored, strict=True))
    counted = {"damaged": found.damaged + bad, "first": first, "last": last, "columns": described}
    return f"SELECT {chosen} FROM flat", about | counted  # noqa: S608 - quoted


def _list(reader: parquet.Reader, element: str | None) -> tuple[str, str]:
    """SQL and kind of rows that are no objects; a missing number is NaN."""
    if element is None:
        return _cell("r", "JSON"), "JSON"
    ((missing,),) = reader.run("SELECT coalesce(bool_or(len(r) <> list_count(r)), false) FROM flat")
    if not missing:
        return "r", f"{_TYPES[element]}[]"
    return "list_transform(r::DOUBLE[], lambda x: coalesce(x, 'nan'::DOUBLE))", "DOUBLE[]"


def _fixed(worker: int) -> dict[str, tuple[str, str]]:
    """SQL and kind by name, in the order of segments.FIXED."""
    return {
        "time": ("round(time * 1e6)::BIGINT", "BIGINT"),
        "request_id": ("request_id", "VARCHAR"),
        "row": ("number", "BIGINT"),
        "version": ("version", "VARCHAR"),
        "schema": ("schema", "VARCHAR"),
        "worker": (f"{worker}::BIGINT", "BIGINT"),
        "method": ("method", "VARCHAR"),
        "status": ("status", "BIGINT"),
        "code": ("code", "VARCHAR"),
        "milliseconds": ("milliseconds", "DOUBLE"),
        "rows": ("asked", "BIGINT"),
        "refused": ("CASE WHEN refused IS NOT NULL THEN to_json(refused) END", "JSON"),
    }


def _flat(columns: Mapping[str, str], keys: list[str]) -> str:
    """A line for each row with an answer; one for a request without."""
    rows = "".join(f", r.{quoted(name)} AS r{place}" for place, name in enumerate(columns)) if columns else ", r"
    given = "".join(f", k.{quoted(name)} AS k{place}" for place, name in enumerate(keys))
    pairs = "CASE WHEN n > 0 THEN {0}[1:n] ELSE [NULL] END"
    key = f", unnest({pairs.format('keys')}) AS k" if keys else ""
    count = "least(len(rows), len(predictions)" + (", coalesce(nullif(len(keys), 0), len(rows))" if keys else "") + ")"
    return (
        f"CREATE TEMP VIEW flat AS SELECT * EXCLUDE (r{', k' if keys else ''}){rows}{given} FROM ("  # noqa: S608 - quoted
        "SELECT time, request_id, version, schema, method, status, code, milliseconds, asked, refused, "
        "unnest(CASE WHEN n > 0 THEN range(n) ELSE [NULL] END) AS number, "
        f"unnest({pairs.format('predictions')}) AS prediction, unnest({pairs.format('rows')}) AS r{key} FROM ("
        f"SELECT *, coalesce({count}, 0) AS n, coalesce(nullif(len(rows), 0), count, 0) AS asked FROM requests WHERE {_SOUND}))"
    )


def _kinds(reader: parquet.Reader, cells: list[str]) -> dict[str, str]:
    """How values of any type are stored: by the types they are of."""
    cases = " ".join(f"WHEN '{name}' THEN {bit}" for name, bit in _BITS.items())
    masks = ", ".join(
        f"coalesce(bit_or(CASE coalesce(json_type({cell}), 'NULL') {cases} WHEN 'NULL' THEN {_MISSING} ELSE {_OTHER} END), 0)"
        for cell in cells
    )
    (found,) = reader.run(f"SELECT {masks} FROM flat")  # noqa: S608 - ours
    kinds = {cell: _kind(mask) for cell, mask in zip(cells, found, strict=True)}
    return kinds | dict.fromkeys(_rounded(reader, [cell for cell in cells if kinds[cell] == "DOUBLE"]), "JSON")


def _kind(mask: int) -> str:
    """Whole numbers beside missing ones stay JSON, and so whole."""
    kind = _KINDS.get(mask & ~_MISSING, "DOUBLE" if not mask & ~(14 | _MISSING) else "JSON")
    return "JSON" if kind == "BIGINT" and mask & _MISSING else kind


def _rounded(reader: parquet.Reader, numbers: list[str]) -> list[str]:
    """Those with whole numbers that a float would round, such as ids: DuckDB takes those of more than 64 bits for floats."""
    if not numbers:
        return []
    beyond = ", ".join(
        f"coalesce(bool_or(CASE WHEN abs(CAST({cell} AS DOUBLE)) >= {EXACT} THEN NOT regexp_matches(CAST({cell} AS VARCHAR), '[.eE]') "
        "ELSE false END), false)"
        for cell in numbers
    )
    (found,) = reader.run(f"SELECT {beyond} FROM flat")  # noqa: S608 - ours
    return [cell for cell, rounds in zip(numbers, found, strict=True) if rounds]


def _cell(sql: str, kind: str) -> str:
    if kind == "JSON":
        return f"CASE WHEN json_type({sql}) <> 'NULL' THEN {sql} END"
    return f"{sql} ->> '$'" if kind == "VARCHAR" else f"CAST({sql} AS {kind})"
