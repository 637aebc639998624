"""The bytes of every reply: one envelope for all errors, strict JSON, the request's id."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .schema import Refusal

Headers = tuple[tuple[bytes, bytes], ...]
JSON = (b"content-type", b"application/json")
RETRY: Headers = ((b"retry-after", b"1"),)
FAULT = (500, "model_error", "The model could not answer these rows; the service's log says why.")
INTERNAL = ("internal_error", "The service failed; its log says why.")


def request_ids() -> Iterator[str]:
    """Unique over all workers: eight random bytes, then a number."""
    prefix = os.urandom(8).hex()
    return (f"{prefix}{number:08x}" for number in count(1))


def prediction(predictions: bytes, version: bytes, request_id: str) -> bytes:
    return b'{"predictions":%b,"version":"%b","request_id":"%b"}' % (predictions, version, request_id.encode())


def feedback(accepted: int, empty: int, request_id: str) -> bytes:
    return b'{"accepted":%d,"empty":%d,"request_id":"%b"}' % (accepted, empty, request_id.encode())


def error(code: str, message: str, details: list[dict[str, Any]], request_id: str) -> bytes:
    return to_json({"error": {"code": code, "message": message, "details": details}, "request_id": request_id})


def headers_of(refusal: Refusal) -> Headers:
    own: Headers = getattr(refusal, "headers", ())
    return (*own, *RETRY) if refusal.status in {429, 503} else own
