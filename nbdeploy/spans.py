"""Spans of time as they are typed: 90s, 30m, 1h, 7d, 2w."""

from __future__ import annotations

import re
from datetime import timedelta

from nbdeploy.errors import WrongUse

_SPAN = re.compile(r"(\d{1,9})\s*([smhdw])")
LONGEST = timedelta(days=36_525)  # a century: what lies before has a date as well
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def shown(length: timedelta) -> str:
    """As `span` reads it: 90s, 5m, 1h, 7d."""
    seconds = int(length.total_seconds())
    fitting = ((unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60)) if seconds and seconds % size == 0)
    unit, size = next(fitting, ("s", 1))
    return f"{seconds // size}{unit}"


def span(text: object) -> timedelta:
    """Raises WrongUse: also where it is longer than a century."""
    match = _SPAN.fullmatch(str(text).strip())
    try:
        length = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    except OverflowError:
        length = timedelta.max
    if length is not None and length <= LONGEST:
        return length
    if length is not None:
        raise WrongUse(f'"{text}" is longer than a century; give a shorter span of time, like 30m, 1h, 7d or 2w.')
    raise WrongUse(f'"{text}" is no span of time; write it like 30m, 1h, 7d or 2w.')
