"""A judgement and its evidence: the executed notebook, what was checked, and a page to read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.execution import DONE
from nbdeploy.render import Card, Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nbdeploy.judge.outcome import Outcome
    from nbdeploy.judge.records import Record


@dataclass(frozen=True, kw_only=True)
class Report(Shown):
    """What a gate notebook said of a bundle, and what came of it."""

    subject: str  # "penguins@0123456789ab" or "penguins:1.2.0"
    name: str
    version: str | None
    digest: str  # of the bundle
    notebook: str
    notebook_digest: str
    checks: tuple[Outcome, ...]  # failing first
    metrics: Mapping[str, Record]
    conditions: tuple[str, ...]
    data: Mapping[str, Any]  # path, rows, columns, fingerprint, target
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    ended: str  # "done", or how else
    started: str
    seconds: float
    by: str
    folder: Path
    executed_digest: str = ""

    @property
    def verdict(self) -> Literal["passed", "refused"]:
        """Passed when the notebook ran to its end, at least one check applied, and every one that did holds."""
        held = [check.passed for check in self.checks if check.passed is not None]
        return "passed" if self.ended == DONE and held and all(held) else "refused"

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    @property
    def executed(self) -> Path:
        return self.folder / "executed.ipynb"

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def card(self) -> Card:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Report:
        """Raises Corrupt where the report or the executed notebook is not as it was stored."""
        raise NotImplementedError


@contextmanager
def draft(reports: Path) -> Iterator[Path]:
    """A folder for a run that is not judged yet; gone afterwards unless its report was stored."""
    yield reports
    raise NotImplementedError


def store(report: Report, reports: Path) -> Report:
    """Write the page and the sealed report beside the evidence in `report.folder` (a draft), then move all of it in."""
    raise NotImplementedError
