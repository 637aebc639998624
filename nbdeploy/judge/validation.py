"""One judgement, in a straight line: held-out rows written, notebook run, conditions judged, report stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Corrupt, GateRefused, WrongUse, an
from nbdeploy.execution import DONE
from nbdeploy.judge import gatebook, heldout, report
from nbdeploy.judge.conditions import judged
from nbdeploy.judge.outcome import Outcome, failing_first
from nbdeploy.judge.report import Report
from nbdeploy.keep.event import this_user
from nbdeploy.runtime.clock import now
from nbdeploy.runtime.manifest import Manifest, ManifestError, altered, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.conditions import Condition
    from nbdeploy.judge.gatebook import Executed, Gatebook
    from nbdeploy.judge.heldout import HeldOut
    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings


ROWS = ".held_out.parquet"
OURS = {  # parameters a notebook may declare, and what to do instead of giving them with -p
    "url": "it is where the version answers that is judged",
    "token_file": "it belongs to that address",
    "live_url": "it is where the live version answers",
    "out": "it is a folder kept with the report",
    "data": "give the rows with --data",
    "target": "give the labels' column with --target",
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is judged, by which notebook, on which rows, against which conditions. `parameters` are the user's own."""

    bundle: Bundle
    version: str | None  # None: not published
    book: Gatebook
    held: HeldOut | None
    conditions: tuple[Condition, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"{self.bundle.name}:{self.version}" if self.version else self.bundle.reference


@dataclass(frozen=True)
class Reached:
    """Where the notebook finds what it judges; "" where there is none. `live`: the other version that is live."""

    url: str
    token_file: str = ""
    live_url: str = ""
    live: Version | None = None


def validate(order: Order, reached: Reached, settings: Settings, progress: Callable[[str], None]) -> Report:
    """The report, whatever its verdict.

    Raises:
        WrongUse: a parameter the notebook does not declare.
        UnsupportedData: rows that cannot be written.
    """
    started = now()
    with report.draft(settings.reports) as folder:
        given = order.book.given(_ours(order.held, reached, folder), order.parameters)
        executed = gatebook.run(order.book, given, folder=folder, settings=settings, progress=progress)
        (folder / ROWS).unlink(missing_ok=True)  # the user's own, kept nowhere
        return report.store(
            Report(
                subject=order.subject,
                name=order.bundle.name,
                version=order.version,
                digest=order.bundle.digest,
                notebook=str(order.book.path),
                notebook_digest=order.book.digest,
                checks=failing_first(_checks(order, executed, live=reached.live is not None)),
                metrics=executed.records.named,
                conditions=tuple(condition.text for condition in order.conditions),
                data=order.held.facts() if order.held is not None else {},
                parameters=given,
                live=reached.live.version if reached.live is not None else "",
                warnings=tuple(_warnings(order)),
                ended=executed.ended,
                started=started,
                seconds=executed.seconds,
                by=this_user(),
                folder=folder,
            ),
            settings.reports,
        )


def check_parameters(book: Gatebook, users: Mapping[str, Any]) -> None:
    """Raises WrongUse, before anything is started, for a parameter the notebook does not declare, or that is ours."""
    for name in users:
        if name in OURS:
            raise WrongUse(f"-p {name}: the notebook is given {name} by nbdeploy; {OURS[name]}.")
    book.given({}, users)


def refuse(found: Report, *, published: bool = False) -> None:
    """Raises GateRefused with the failing checks, unless the report says passed."""
    if found.verdict != "passed":
        failing = [str(check) for check in found.checks if check.passed is False]
        raise GateRefused(found.subject, failing, str(found.html), found, published)


def require_valid(found: Any, bundle: Bundle, live: Version | None = None) -> Report:
    """The report as it is stored, if it lets this bundle pass: judged on these bytes, by this notebook, untouched since,
    and where it compares, with the version that is `live`.

    Raises:
        GateRefused: with every reason why not.
    """
    if not isinstance(found, Report):
        raise WrongUse(f"report= takes what validate(...) returns, not {an(type(found).__name__)}.")
    try:
        stored = Report.load(found.folder)
    except Corrupt as exc:
        raise GateRefused(bundle.reference, (str(exc),), str(found.html), found) from exc
    refuse(stored)
    reasons = [*_not_its_bytes(stored, bundle), *_not_its_notebook(stored), *_not_its_rival(stored, live)]
    if reasons:
        raise GateRefused(bundle.reference, reasons, str(stored.html), stored)
    return stored


def _warnings(order: Order) -> Iterator[str]:
    yield from filter(None, (condition.warning() for condition in order.conditions))
    if "url" not in order.book.declared:
        yield (
            f"{order.book.path.name} declares no url in its parameters cell, so it was not told where {order.subject} answers: "
            "what it judged may be something else"
        )


def _ours(held: HeldOut | None, reached: Reached, place: Path) -> dict[str, Any]:
    """The parameters a gate notebook may declare."""
    data = ""
    if held is not None:
        data = str(place.absolute() / ROWS)
        heldout.write(held, Path(data))
    return {
        "url": reached.url,
        "token_file": reached.token_file,
        "data": data,
        "target": held.target_name if held is not None else "",
        "live_url": reached.live_url,
    }


def _checks(order: Order, executed: Executed, *, live: bool) -> list[Outcome]:
    """How the run ended, what the notebook expected, and what was asked of its records."""
    records = executed.records
    asked = judged(order.conditions, records, live=live)
    expected = [
        Outcome(expectation.name, expectation.passed, detail=expectation.detail, kind="expectation")
        for expectation in records.expectations
    ]
    ended = _ended(executed)
    if not ended and all(check.passed is None for check in (*asked, *expected)):
        fact = "the notebook expects nothing and no condition applies: write expect(name, condition), or give --gate"
        ended = [Outcome("something is checked", passed=False, detail=fact, kind="run")]
    return [*ended, *asked, *expected]


def _ended(executed: Executed) -> list[Outcome]:
    if executed.ended == DONE:
        return []
    return [Outcome("the notebook runs to its end", passed=False, detail=executed.ended, kind="run")]


def _not_its_bytes(stored: Report, bundle: Bundle) -> Iterator[str]:
    try:
        manifest = Manifest.load(bundle.src)
    except ManifestError as exc:
        yield f"the bundle {bundle.reference} cannot be read: {exc}"
        return
    for fact in altered(bundle.src, manifest):
        yield f"the bundle {bundle.reference} is not what was judged: {fact}"
    if stored.digest != manifest.computed_digest():
        yield f"the report judges {stored.subject} ({stored.digest}), and this is {manifest.computed_digest()}"


def _not_its_notebook(stored: Report) -> Iterator[str]:
    path = Path(stored.notebook)
    if not path.is_file():
        yield f"the gate notebook {path} is gone; judge again"
    elif digest_of(path) != stored.notebook_digest:
        yield f"the gate notebook {path} was edited after it ran; judge again"


def _not_its_rival(stored: Report, live: Version | None) -> Iterator[str]:
    number = "" if live is None else live.version
    if stored.compares and stored.live != number and not (live is not None and live.digest == stored.digest):
        yield f"the report compares with {stored.live or 'no live version'}, and {number or 'none'} is live now; judge again"
