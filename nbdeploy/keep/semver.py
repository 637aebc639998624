"""Version numbers: reading, ordering, and which one a change calls for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from nbdeploy.errors import DowngradeRefused, WrongUse
from nbdeploy.keep.callers import breaks, gains
from nbdeploy.keep.changelog import internals
from nbdeploy.reference import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbdeploy.runtime.manifest import Manifest

Bump = Literal["patch", "minor", "major"]
BUMPS: tuple[Bump, ...] = ("patch", "minor", "major")  # smallest first
UNCHANGED = "nothing changed for callers"


class Number(NamedTuple):
    """A version's number; tuples order as versions do."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Number:
        """Raises WrongUse."""
        return cls(*map(int, check_version(text).split(".")))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def after(self, bump: Bump) -> Number:
        if bump == "major":
            return Number(self.major + 1, 0, 0)
        return (
            Number(self.major, self.minor + 1, 0) if bump == "minor" else Number(self.major, self.minor, self.patch + 1)
        )


FIRST = Number(1, 0, 0)


def next_number(base: Number, bump: Bump, issued: Iterable[Number]) -> Number:
    """The smallest number of that bump above `base` which was never issued."""
    taken = set(issued)
    number = base.after(bump)
    while number in taken:
        number = number.after(bump)
    return number


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the change calls for; each reason is a sentence."""

    bump: Bump
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """All of it in one line; long lists are cut and counted."""
        shown = "; ".join(self.reasons[:5])
        more = len(self.reasons) - 5
        return f"{shown}; and {more} more" if more > 0 else shown


def suggest(before: Manifest, after: Manifest) -> Suggestion:
    """Major where callers break, minor where they may do more, else patch."""
    if before.digest == after.digest:
        return Suggestion("patch", (UNCHANGED,))
    broken = breaks(before, after)
    if broken:
        return Suggestion("major", tuple(broken))
    gained = gains(before, after)
    if gained:
        return Suggestion("minor", tuple(gained))
    return Suggestion("patch", tuple(internals(before, after)) or (UNCHANGED,))


def check_bump(asked: str | None) -> None:
    """Raises WrongUse unless it is one, or none."""
    if asked is not None and asked not in BUMPS:
        raise WrongUse(f'"{asked}" is not a bump: say major, minor or patch.')


def settled(suggestion: Suggestion, asked: str | None, *, force: bool = False) -> Suggestion:
    """The suggestion, or what `--bump` asked for: upward freely, downward only with `force`.

    Raises:
        DowngradeRefused: naming what the change needs, and why.
    """
    if asked is None or asked == suggestion.bump:
        return suggestion
    check_bump(asked)
    bump = BUMPS[BUMPS.index(asked)]
    if BUMPS.index(bump) < BUMPS.index(suggestion.bump):
        if not force:
            raise DowngradeRefused(bump, suggestion.bump, suggestion.reasons[0])
        return Suggestion(bump, (f"forced below {suggestion.bump}", *suggestion.reasons))
    return Suggestion(bump, ("asked for with --bump", *suggestion.reasons))
