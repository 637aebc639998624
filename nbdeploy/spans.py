"""Spans of time as they are typed: 90s, 30m, 1h, 7d, 2w; of a pause also a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta

from nbdeploy.errors import WrongUse

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")
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


def seconds(text: object) -> float:
    """Of a pause: a span, or a number of seconds (2.5). Raises WrongUse: also for none at all."""
    plain = str(text).strip()
    length = float(plain) if _NUMBER.fullmatch(plain) else span(text).total_seconds()
    if length > 0:
        return length
    raise WrongUse(f'"{text}" is no time to wait; write it like 2.5 (seconds), 10s or 1m.')
