"""`Shift`: what happened to a column, in words: which of the ways of drifting it looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.counts import Bins, Tally
from nbdeploy.render.plain import figures, percent
from nbdeploy.watch.cells import inside
from nbdeploy.watch.factor import pins
from nbdeploy.watch.quantiles import quantiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.factor import Factor

AT = (0.1, 0.25, 0.5, 0.75, 0.9)
WIDER = 1.25  # a spread this much larger, or smaller by as much, is said
FAR = 0.2  # training standard deviations; a smaller move does not explain values outside the training range
LUMP = (0.05, 0.5)  # shares of the values beyond the training range that may be something else than a move of all
ALIKE = 0.15  # of the distance from the first to the ninth decile; a conversion within it is taken for what happened
ALIKE_ENDS = 0.35  # of the distance from the lowest to the highest value
RESOLVED = 8  # bins
PRECISE, ROUGH = 0.03, 0.15  # relative standard errors of a factor up to which it can have a unit's name
NEAR = 0.02  # relative; a measured factor may differ by it from the unit's that fits all quantiles
LARGE = 50.0  # of such factors units are few, so that a rough one is enough
UNITS: tuple[tuple[float, float, str], ...] = (
    *((10.0**power, 0.0, f"multiplied by {10**power:,}") for power in range(1, 10)),
    *((10.0**-power, 0.0, f"divided by {10**power:,}") for power in range(1, 10)),
    (60.0, 0.0, "multiplied by 60, as minutes given in seconds"),
    (1 / 60, 0.0, "divided by 60, as seconds given in minutes"),
    (3600.0, 0.0, "multiplied by 3,600, as hours given in seconds"),
    (24.0, 0.0, "multiplied by 24, as days given in hours"),
    (1 / 24, 0.0, "divided by 24, as hours given in days"),
    (12.0, 0.0, "multiplied by 12, as years given in months"),
    (1 / 12, 0.0, "divided by 12, as months given in years"),
    (2.54, 0.0, "multiplied by 2.54, as inches given in centimetres"),
    (1 / 2.54, 0.0, "divided by 2.54, as centimetres given in inches"),
    (3.2808, 0.0, "multiplied by 3.28, as metres given in feet"),
    (0.3048, 0.0, "divided by 3.28, as feet given in metres"),
    (2.2046, 0.0, "multiplied by 2.2, as kilograms given in pounds"),
    (0.4536, 0.0, "divided by 2.2, as pounds given in kilograms"),
    (1.6093, 0.0, "multiplied by 1.61, as miles given in kilometres"),
    (0.6214, 0.0, "divided by 1.61, as kilometres given in miles"),
    (1.8, 32.0, "as degrees Celsius given in Fahrenheit"),
    (1 / 1.8, -32 / 1.8, "as degrees Fahrenheit given in Celsius"),
    (1.0, 273.15, "as degrees Celsius given in Kelvin"),
    (1.0, -273.15, "as Kelvin given in degrees Celsius"),
    (-1.0, 0.0, "with their sign changed"),
)


@dataclass(frozen=True)
class Shift:
    """kind: missing | unseen | constant | units | mean | scale | shares. `size` is in the words' own unit."""

    kind: str
    text: str
    size: float


def shifts(reference: Counts, window: Counts, exceeded: Collection[str], called: str = "training") -> tuple[Shift, ...]:
    """What explains the tests that were exceeded, the plainest first. `called`: what the reference is."""
    found = [replace(shift, text=shift.text.format(called=called)) for shift in _shifts(reference, window, exceeded)]
    if reference.kind == "text":  # of texts the lengths are counted
        found = [replace(shift, text=shift.text.replace("value", "length")) for shift in found]
    return tuple(found)


def _shifts(reference: Counts, window: Counts, exceeded: Collection[str]) -> Iterator[Shift]:
    """Texts have a place for the name of the reference, and so their other braces doubled."""
    if "missing" in exceeded:
        before, now = absent(reference) / reference.total, absent(window) / window.total
        yield Shift("missing", f"{percent(now)} are missing, {percent(before)} in {{called}}", now - before)
    if not {"jensen_shannon", "wasserstein", "unseen"} & set(exceeded) or not sum(window.counts) + _other(window):
        return
    if (constant := _constant(reference, window)) is not None:
        yield constant
        return
    if isinstance(reference, Bins) and isinstance(window, Bins):
        yield from _of_numbers(reference, window, exceeded)
    elif isinstance(reference, Tally) and isinstance(window, Tally):
        yield from _of_values(reference, window, exceeded)


def _of_numbers(reference: Bins, window: Bins, exceeded: Collection[str]) -> Iterator[Shift]:
    before, now = quantiles(reference, AT), quantiles(window, AT)
    if before is None or now is None:
        return
    share = sum(outside(reference, window)) / sum(window.counts)
    text = (
        f"{percent(share)} lie outside the range of {{called}}, {_number(reference.low)} to {_number(reference.high)}"
    )
    if LUMP[0] <= share <= LUMP[1] and not _telling(_moved(reference, before, _within(reference, window))):
        yield Shift("unseen", text, share)
        return
    if unit := _unit(reference, window, before, now):
        yield unit
        return
    found = _moved(reference, before, now) if {"jensen_shannon", "wasserstein"} & set(exceeded) else []
    if "unseen" in exceeded:
        found.insert(len(found) if _telling(found) else 0, Shift("unseen", text, share))
    yield from found or [Shift("shares", "values are spread in another way within the range", 0.0)]


def _telling(found: Collection[Shift]) -> bool:
    return any(shift.kind == "scale" or abs(shift.size) > FAR for shift in found)


def _within(reference: Bins, window: Bins) -> NDArray[np.float64] | None:
    """Quantiles of the values that lie in the training range: those of training, where the others are a lump of their own."""
    first, last = inside(reference)
    kept = tuple(count if first <= place <= last else 0 for place, count in enumerate(window.counts))
    return quantiles(replace(window, counts=kept, low=reference.low, high=reference.high), AT)


def _moved(reference: Bins, before: NDArray[np.float64], now: NDArray[np.float64] | None) -> list[Shift]:
    """The middle by the mean of the quantiles, the spread by the outer ones; what changed more comes first."""
    if now is None:
        return []
    spread, spread_now = before[-1] - before[0], now[-1] - now[0]
    ratio = float(spread_now / spread) if spread else 1.0
    moved = float(np.mean(now - before)) / reference.scale if reference.scale else 0.0
    widened = abs(float(np.log(ratio))) if ratio > 0 else 1.0
    found = []
    if abs(moved) > 0.02:
        text = f"values are {figures(abs(moved), 2)} training sd {'higher' if moved > 0 else 'lower'}"
        found.append((abs(moved), Shift("mean", text, moved)))
    if widened > np.log(WIDER):
        found.append((widened, Shift("scale", f"the spread is {figures(ratio, 2)} times that of {{called}}", ratio)))
    return [shift for _, shift in sorted(found, key=lambda item: -item[0])]


def _unit(reference: Bins, window: Bins, before: NDArray[np.float64], now: NDArray[np.float64]) -> Shift | None:
    """The conversion that makes the training quantiles those of the window: the factor that is measured, and the name of a
    unit only where that fits within its own uncertainty. Where the window lies in few bins, nothing is known of it but its
    ends, which a smaller sample has nearer to each other.
    """
    alike, apart = ALIKE, 1.0
    if np.sum(np.asarray(window.counts) > 0.02 * sum(window.counts)) < RESOLVED:
        before, now = np.array([reference.low, reference.high]), np.array([window.low, window.high])
        alike, apart = ALIKE_ENDS, 0.6
    width = float(now[-1] - now[0])
    if width <= 0:
        return None
    away = float(np.max(np.abs(now - before))) / width

    def error(by: float, plus: float) -> float:
        if away <= _needed(by, apart):
            return float("inf")
        return float(np.max(np.abs(np.sort(before * by + plus) - now))) / width

    measured, turned = pins(reference, window), pins(reference, window, turned=True)
    if measured is None or turned is None:
        return None
    factor = measured.factor()
    named = [
        (found, by, text)
        for by, plus, text in UNITS
        if (found := error(by, plus)) < alike
        and (measured if by > 0 else turned).fit(by, plus)
        and (plus or by < 0 or (factor is not None and _is(factor, by)))
    ]
    if named:
        _, by, text = min(named)
        return Shift("units", f"values look {text}", by)
    if factor is None or error(factor.value, 0.0) >= alike:
        return None
    said = figures(factor.value, 3 if factor.error < NEAR else 2)
    return Shift("units", f"values are about {said} times those of {{called}}", factor.value)


def _is(factor: Factor, by: float) -> bool:
    """Whether a measured factor is this one: near it, and known so well that it is no other."""
    precise = PRECISE if 1 / LARGE < by < LARGE else ROUGH
    return factor.error <= precise and abs(float(np.log(factor.value / by))) <= max(2 * factor.error, NEAR)


def _needed(by: float, apart: float) -> float:
    """A small factor could be an ordinary change, unless hardly anything lies where it lay before."""
    return apart if 0.1 < abs(by) < 10 else 0.3


def _of_values(reference: Tally, window: Tally, exceeded: Collection[str]) -> Iterator[Shift]:
    present = sum(window.counts) + window.other
    if "unseen" in exceeded:
        share = window.other / present
        yield Shift("unseen", f"{percent(share)} are values that {{called}} never had", share)
    if "jensen_shannon" in exceeded:
        before = np.asarray(reference.counts) / max(sum(reference.counts) + reference.other, 1)
        now = np.asarray(window.counts) / present
        most = int(np.argmax(np.abs(now - before)))
        text = f"{_braced(reference.seen[most])} is {percent(float(now[most]))}, {percent(float(before[most]))} in {{called}}"
        yield Shift("shares", text, float(now[most] - before[most]))


def _constant(reference: Counts, window: Counts) -> Shift | None:
    if is_constant(reference) or not is_constant(window):
        return None
    if isinstance(window, Bins):
        return Shift("constant", f"every value is {_number(window.low)}", 1.0)
    value = next((_braced(window.seen[place]) for place, count in enumerate(window.counts) if count), "one unseen")
    return Shift("constant", f"every value is {value}", 1.0)


def is_constant(counts: Counts) -> bool:
    """Whether all values that are there are one. Other than the listed categories may be several."""
    if isinstance(counts, Bins):
        return counts.low is not None and counts.low == counts.high
    return sum(count > 0 for count in counts.counts) == 1 and not counts.other


def absent(counts: Counts) -> int:
    """Missing, or of another type."""
    return counts.missing + (counts.odd if isinstance(counts, Bins) else 0)


def outside(reference: Bins, window: Bins) -> tuple[int, int]:
    """How many lie below and above the training range."""
    first, last = inside(reference)
    return sum(window.counts[:first]), sum(window.counts[last + 1 :])


def _other(counts: Counts) -> int:
    return counts.other if isinstance(counts, Tally) else 0


def _braced(value: Any) -> str:
    return repr(value).replace("{", "{{").replace("}", "}}")


def _number(value: float | None) -> str:
    return "-" if value is None else figures(value, 6)
