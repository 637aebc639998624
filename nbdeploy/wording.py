"""How the user put the call under way: the expressions behind its objects, for whoever writes down where a model comes from."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOW: ContextVar[Mapping[str, Any]] = ContextVar("nbdeploy wording", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def worded(words: Mapping[str, Any]) -> Iterator[None]:
    """Remember the words of a call while it is carried out."""
    token = _NOW.set(words)
    try:
        yield
    finally:
        _NOW.reset(token)


def wording() -> dict[str, Any]:
    """Empty where objects were given and no words."""
    return dict(_NOW.get())
