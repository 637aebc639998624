"""`Window`: the rows of some time as counts over the training sample's bins; a week is the sum of its days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from nbdeploy.capture.counts import Counts
    from nbdeploy.capture.profile import Profile


@dataclass(frozen=True)
class Window:
    """`schema` is the id the rows were logged with. `began` and `ended` bound their times. `repeats`: how often each row is
    in it, beyond what chance does: 2 where all were asked of two methods. So many times fewer rows tell something.
    """

    profile: Profile
    schema: str | None = None
    began: datetime | None = None
    ended: datetime | None = None
    repeats: float = 1.0

    def merged(self, other: Window) -> Window:
        """Both together.

        Raises:
            ValueError: the bins or the schemas are not the same.
        """
        if self.schema != other.schema:
            raise ValueError("windows of different schemas cannot be merged")
        began = [item for item in (self.began, other.began) if item is not None]
        ended = [item for item in (self.ended, other.ended) if item is not None]
        return Window(
            self.profile.merged(other.profile),
            self.schema,
            min(began, default=None),
            max(ended, default=None),
            max(self.repeats, other.repeats),
        )


def parts_of(profile: Profile) -> dict[str, Counts]:
    """What is compared, under the names of `predictions().frame()`."""
    inputs: dict[str, Counts] = {f"input.{name}": counts for name, counts in profile.columns.items()}
    others = {"prediction": profile.predictions, "target": profile.target}
    return inputs | {name: counts for name, counts in others.items() if counts is not None}
