"""A judgement and its evidence: the executed notebook, what was checked, and a page to read.

A report is a folder NBDEPLOY_HOME/reports/NAME/TIME-DIGEST-NONCE/: `executed.ipynb`, `report.json` (sealed by a checksum of
itself, and naming that of the notebook), `report.html`, and `out/` where the notebook kept files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from nbdeploy import ephemeral
from nbdeploy.errors import Corrupt
from nbdeploy.execution import DONE
from nbdeploy.homes import failing, private, sync_folder, write_whole
from nbdeploy.judge import outcome
from nbdeploy.judge.conditions import Condition
from nbdeploy.judge.metrics import metric
from nbdeploy.judge.outcome import Outcome
from nbdeploy.judge.records import Record
from nbdeploy.judge.summary import interval, number
from nbdeploy.render import Card, Shown, Table
from nbdeploy.runtime.manifest import digest_of
from nbdeploy.turns import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nbdeploy.judge.estimate import Estimate
    from nbdeploy.judge.outcome import Verdict

FORMAT = 1
FILE_NAME = "report.json"
DRAFTS = ".drafts"
NAMED = 5  # failing checks named in a sentence
SHOWN = 30  # metrics on a card
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADVICE = "validate again"


@dataclass(frozen=True)
class Measured:
    """A metric of all rows, beside that of the live version where there is one."""

    name: str
    title: str
    value: Estimate
    live: Estimate | None


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
    live: str = ""  # the other version that was live, "1.1.0"; reports of before this was noted have none
    warnings: tuple[str, ...] = ()
    ended: str  # "done", or how else
    started: str
    seconds: float
    by: str
    folder: Path
    executed_digest: str = ""

    @property
    def verdict(self) -> Verdict:
        """Passed when the notebook ran to its end, at least one check applied, and every one that did holds."""
        return outcome.verdict(self.checks) if self.ended == DONE else "refused"

    @property
    def compares(self) -> bool:
        """Whether the verdict hangs on the version that was live."""
        return "live_url" in self.parameters or any(Condition.parse(text).bound.live for text in self.conditions)

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    @property
    def executed(self) -> Path:
        return self.folder / "executed.ipynb"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.ended != DONE:
            return f"The notebook did not come to its end: {self.ended.removesuffix('.')}."
        counted = [check for check in self.checks if check.passed is not None]
        failed = [check for check in counted if not check.passed]
        if not counted:
            return "Nothing was checked."
        if failed:
            names = ", ".join(check.name for check in failed[:NAMED])
            more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
            return f"{len(failed)} of {len(counted)} checks failed: {names}{more}."
        said = f"All {len(counted)} checks hold" if len(counted) > 1 else "The one check holds"
        idle = len(self.checks) - len(counted)
        return f"{said}; {idle} did not apply." if idle else f"{said}."

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The metrics of all rows, in the order they were recorded."""
        return tuple(
            Measured(name, known.title if (known := metric(name)) else name, value, self.estimate(f"live.{name}"))
            for name, record in self.metrics.items()
            if "@" not in name and "." not in name and (value := record.estimate) is not None
        )

    @property
    def key(self) -> tuple[Measured, ...]:
        """Those with an interval or asked for by a condition; all where there is none such."""
        asked = {word for text in self.conditions for word in _WORDS.findall(text)}
        return (
            tuple(item for item in self.measured if item.value.low is not None or item.name in asked) or self.measured
        )

    def estimate(self, name: str) -> Estimate | None:
        return self.metrics[name].estimate if name in self.metrics else None

    def to_dict(self) -> dict[str, Any]:
        return {**self._content(), "verdict": self.verdict, "folder": str(self.folder), "html": str(self.html)}

    def card(self) -> Card:
        passed = self.verdict == "passed"
        rows = [(check.word, check.name, number(check.value), check.detail) for check in self.checks]
        tables = [Table(("", "check", "value", ""), rows, empty="nothing was checked")]
        if self.key:
            tables.append(_table(self.key[:SHOWN]))
        return Card(
            title=self.subject,
            tone="good" if passed else "bad",
            status=f"{'passed' if passed else 'refused by'} the gate",
            facts=(
                ("verdict", self.sentence),
                ("judged by", f"{self.notebook} in {self.seconds:.0f} s"),
                ("on", self.rows()),
                *(
                    (("compared with", f"{self.name}:{self.live}, which was live"),)
                    if self.live and self.compares
                    else ()
                ),
                ("report", self.html),
            ),
            tables=tables,
            notes=[("warning", warning) for warning in self.warnings],
        )

    def rows(self) -> str:
        """The data in a phrase."""
        if not self.data:
            return "no data was given"
        columns = self.data.get("columns")
        count = len(columns) if isinstance(columns, (list, tuple)) else columns
        target = f", target {self.data['target']}" if self.data.get("target") else ""
        return f"{self.data.get('rows')} rows, {count} columns{target}"

    def _content(self) -> dict[str, Any]:
        """All but where it lies, as strict JSON."""
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "folder"}
        told["checks"] = [check.to_dict() for check in self.checks]
        told["metrics"] = {name: record.to_dict() for name, record in self.metrics.items()}
        return dict(_strict(told))

    @classmethod
    def load(cls, folder: Path) -> Report:
        """Raises Corrupt where the report or the executed notebook is not as it was stored."""
        path = folder / FILE_NAME
        written, raw = _read(path)
        if written != _dumps(raw) or raw.pop("seal", None) != seal(raw):
            raise Corrupt(str(path), "its checksum is another", _ADVICE)
        if raw.pop("format", None) != FORMAT:
            raise Corrupt(str(path), "it is of another nbdeploy", _ADVICE)
        raw["checks"] = tuple(Outcome.from_dict(check) for check in raw["checks"])
        raw["metrics"] = {name: Record.from_dict(record) for name, record in raw["metrics"].items()}
        raw |= {name: tuple(raw[name]) for name in ("conditions", "warnings")}
        found = cls(**raw, folder=folder)
        if not found.executed.is_file():
            raise Corrupt(str(found.executed), "it is gone", _ADVICE)
        if digest_of(found.executed) != found.executed_digest:
            raise Corrupt(str(found.executed), "its checksum is another", _ADVICE)
        return found


@contextmanager
def draft(reports: Path) -> Iterator[Path]:
    """A folder for a run that is not judged yet; gone afterwards unless its report was stored."""
    sweep(reports)
    with ephemeral.ephemeral(reports / DRAFTS) as folder:
        yield folder


def store(report: Report, reports: Path) -> Report:
    """Seal the report beside the evidence in `report.folder` (a draft), move all of it in, and write its page there."""
    from nbdeploy.judge import page

    with failing(f"storing the report on {report.subject}", reports):
        sealed = replace(report, executed_digest=digest_of(report.executed))
        content = {"format": FORMAT, **sealed._content()}  # noqa: SLF001  # of this module
        write_whole(report.folder / FILE_NAME, _dumps({**content, "seal": seal(content)}))
        (report.folder / FILE).unlink()
        target = private(reports / report.name) / _label(report)
        report.folder.rename(target)
        sync_folder(target.parent)
        stored = replace(sealed, folder=target)
        write_whole(stored.html, page.page(stored))
        for path in (target / FILE_NAME, stored.html):
            path.chmod(0o600)
    return stored


def sweep(reports: Path) -> list[str]:
    """Remove the drafts whose process is gone; their names."""
    return ephemeral.sweep(reports / DRAFTS)


def seal(content: Mapping[str, Any]) -> str:
    """A checksum; against changed bytes, not against an enemy who writes a new one."""
    return f"sha256:{hashlib.sha256(_dumps(content)).hexdigest()}"


def _table(measured: tuple[Measured, ...]) -> Table:
    live = any(item.live for item in measured)
    rows = [
        (item.title, number(item.value.value), interval(item.value))
        + ((number(item.live.value) if item.live else "",) if live else ())
        for item in measured
    ]
    return Table(("metric", "value", "interval", *(("live",) if live else ())), rows)


def _label(report: Report) -> str:
    moment = "".join(char for char in report.started.partition(".")[0] if char.isalnum())
    return f"{moment}Z-{report.digest.removeprefix('sha256:')[:12]}-{secrets.token_hex(4)}"


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        written = path.read_bytes()
        raw = json.loads(written)
    except FileNotFoundError:
        raise Corrupt(str(path), "it is gone", _ADVICE) from None
    except (OSError, ValueError) as exc:
        raise Corrupt(str(path), f"it cannot be read: {exc}", _ADVICE) from exc
    if not isinstance(raw, dict):
        raise Corrupt(str(path), "it is no report", _ADVICE)
    return written, raw


def _dumps(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode(errors="surrogatepass")


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
