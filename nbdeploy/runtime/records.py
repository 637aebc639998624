r"""A line of the prediction log: eight hexadecimal figures, the CRC-32 of what follows the blank, then JSON, then \n.

JSON holds no raw line end, so each line stands for itself: one without its end is torn, one whose sum differs is
damaged, and a reader goes on with the next. Fields: time (seconds since 1970, UTC), request_id, version, schema,
method, status, milliseconds; with status 200 also rows, predictions and, where the service has them, keys; else code and,
in `refused`, the columns that the rows were refused for. A
request whose rows are not kept has their count in place of them. A segment's first line is no request, but its head: the
schema of its rows and what the log's policy makes of their columns.
"""

from __future__ import annotations

import json
import zlib
from binascii import hexlify
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .policy import Policy

SUFFIX = ".log"
HEAD = "log"  # the field only a head has


def line(payload: bytes) -> bytes:
    return b"".join((hexlify(zlib.crc32(payload).to_bytes(4)), b" ", payload, b"\n"))


def head(
    schema: str, policy: Policy, columns: dict[str, str], keys: Sequence[str], element: str | None = None
) -> bytes:
    """`columns` are those logged of rows that are objects, with the kinds their values have in the log, `element` is the
    kind of those that are lists; `keys` are all of the service's. What the policy makes of the two is told apart: a key may
    be hashed, and the row is whole.
    """
    said = {
        "policy": {name: word for name, word in policy.columns.items() if name not in keys},
        "keys_policy": {name: word for name, word in policy.columns.items() if name in keys},
    }
    told = {HEAD: 1, "schema": schema, **said, "sample": policy.sample}
    return line(json.dumps({**told, "columns": columns, "element": element, "keys": policy.names(keys)}).encode())


def parse(text: bytes) -> dict[str, Any] | None:
    """The record of a line without its end; None if it is damaged."""
    payload = text[9:]
    if text[8:9] != b" " or text[:8] != b"%08x" % zlib.crc32(payload):
        return None
    try:
        record = from_json(payload)
    except ValueError:
        record = _slowly(payload)
    return record if isinstance(record, dict) else None


def _slowly(payload: bytes) -> Any:
    """Half characters as JSON escapes them are no text to a parser written in Rust."""
    try:
        return json.loads(payload)
    except ValueError:
        return None
