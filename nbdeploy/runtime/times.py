"""Moments and durations as ISO 8601 text, exact to the nanosecond.

A column counts in one unit from 1970; texts finer than that unit are refused, never rounded.
"""

from __future__ import annotations

import re
from datetime import date

UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "D": 86_400 * 10**9,
}
NAT = -(2**63)  # numpy's NaT, as a count
_EPOCH = date(1970, 1, 1).toordinal()
_LAST = date.max.toordinal() - _EPOCH
_SECOND = 10**9
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)
_DURATION = re.compile(
    r"(-?)P(?:(\d{1,15})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,19})(?:\.(\d{1,9}))?S)?)?", re.ASCII
)


def moment(text: str, unit: str, *, aware: bool) -> int:
    """Text like "2024-05-17T08:30:00.25" as a count of units; with an offset ("+02:00", "Z") if and only if `aware`.

    Raises:
        ValueError: says what is wrong, without the text.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("must be a date and time like 2024-05-17T08:30:00")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if (offset is None) == aware:
        raise ValueError("must end in an offset like +02:00 or Z" if aware else "must have no offset from UTC")
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        raise ValueError("is a date that does not exist") from None
    seconds = _clock(int(hour or 0), int(minute or 0), int(second or 0)) - _shift(offset)
    return _counted((days * 86_400 + seconds) * _SECOND + _nanoseconds(fraction), unit)


def moment_text(count: int, unit: str, *, aware: bool) -> str:
    """Raises ValueError for years beyond 1 to 9999, which ISO text does not hold."""
    days, rest = divmod(count * UNITS[unit], 86_400 * _SECOND)
    if not 1 - _EPOCH <= days <= _LAST:
        raise ValueError("holds a year before 1 or after 9999")
    day = date.fromordinal(days + _EPOCH).isoformat()
    if unit == "D" and not aware:
        return day
    seconds, nanoseconds = divmod(rest, _SECOND)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{day}T{clock}{_fraction(nanoseconds)}{'Z' if aware else ''}"


def duration(text: str, unit: str) -> int:
    """Text like "P1DT2H30M0.5S" as a count of units; a leading minus negates it.

    Raises:
        ValueError: says what is wrong, without the text.
    """
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError("must be a duration like P1DT2H30M0.5S")
    sign, days, hours, minutes, seconds, fraction = match.groups()
    whole = int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    total = whole * _SECOND + _nanoseconds(fraction)
    return _counted(-total if sign else total, unit)


def duration_text(count: int, unit: str) -> str:
    total = count * UNITS[unit]
    seconds, nanoseconds = divmod(abs(total), _SECOND)
    clock = f"{seconds // 3600 % 24}H{seconds // 60 % 60}M{seconds % 60}{_fraction(nanoseconds)}S"
    return f"{'-' if total < 0 else ''}P{seconds // 86_400}DT{clock}"


def _clock(hour: int, minute: int, second: int) -> int:
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("is a time of day that does not exist")
    return hour * 3600 + minute * 60 + second


def _shift(offset: str | None) -> int:
    """Seconds east of UTC."""
    if offset is None or offset == "Z":
        return 0
    seconds = _clock(int(offset[1:3]), int(offset[4:6]), 0)
    return -seconds if offset[0] == "-" else seconds


def _nanoseconds(fraction: str | None) -> int:
    return int(fraction.ljust(9, "0")) if fraction else 0


def _fraction(nanoseconds: int) -> str:
    return "." + f"{nanoseconds:09}".rstrip("0") if nanoseconds else ""


def _counted(nanoseconds: int, unit: str) -> int:
    count, rest = divmod(nanoseconds, UNITS[unit])
    if rest:
        raise ValueError(f"is finer than the model's data, which counts in {unit}")
    if not NAT < count < 2**63:
        raise ValueError(f"is outside what 64 bits hold when counted in {unit}")
    return count
