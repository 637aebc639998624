"""The head of a report's page: the verdict in words, failing checks first, what was judged, the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.judge.metrics import metric
from nbdeploy.render.markup import text
from nbdeploy.render.plain import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbdeploy.judge.estimate import Estimate
    from nbdeploy.judge.outcome import Outcome
    from nbdeploy.judge.records import Record
    from nbdeploy.judge.report import Measured, Report

MARKS = {True: "✓", False: "✗", None: "-"}
MOST = 200  # rows of a recorded table that are shown
_NUMBER = ' class="number"'


def summary(report: Report) -> str:
    """HTML of our own making: every text in it is escaped."""
    return "\n".join(
        (
            _verdict(report),
            _section("Checks", _checks(report.checks)),
            _section("Key metrics", _metrics(report.key)),
            _section("What was judged", _facts(report)),
            _folded("Other numbers", _metrics([item for item in report.measured if item not in report.key])),
            _folded("Metrics by slice", _slices(report)),
            _folded("Other records", _others(report)),
        )
    )


def number(value: Any) -> str:
    """A number as a reader wants it."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def interval(value: Estimate) -> str:
    return "" if value.low is None or value.high is None else f"{number(value.low)} to {number(value.high)}"


def _verdict(report: Report) -> str:
    passed = report.verdict == "passed"
    said = f"{report.subject} {'passed its gate' if passed else 'was refused by its gate'}"
    warnings = "".join(f"<p>! {text(warning)}</p>" for warning in report.warnings)
    return (
        f'<div class="verdict {report.verdict}"><h1><span class="mark">{MARKS[passed]}</span> {text(said)}</h1>'
        f"<p>{text(report.sentence)}</p>{warnings}</div>"
    )


def _checks(checks: Sequence[Outcome]) -> str:
    rows = [
        f'<tr class="{"failed" if check.passed is False else "passed" if check.passed else "none"}">'
        f'<td class="mark">{MARKS[check.passed]} {text(check.word)}</td><td>{text(check.name)}</td>'
        f"<td{_NUMBER}>{text(number(check.value))}</td><td>{text(check.detail)}</td></tr>"
        for check in checks
    ]
    return _table(("", "check", "value", ""), rows)


def _metrics(measured: Sequence[Measured]) -> str:
    live = any(item.live for item in measured)
    levels = {item.value.level for item in measured if item.value.low is not None}
    headers = ["", "metric", "value"]
    if levels:
        headers.append(f"{percent(levels.pop(), 0)} interval" if len(levels) == 1 else "interval")
    if live:
        headers.append("live version")
    return _table(headers, [_row(*_cells_of(item, len(headers), live=live)) for item in measured])


def _cells_of(item: Measured, width: int, *, live: bool) -> list[str]:
    cells = [item.title, item.name, number(item.value.value), interval(item.value)]
    beside = [number(item.live.value) if item.live else ""] if live else []
    return cells[: width - len(beside)] + beside


def _facts(report: Report) -> str:
    fingerprint = report.data.get("fingerprint")
    facts = {
        "model": report.name,
        "version": report.version or "not published yet",
        "digest": report.digest,
        "rows": report.rows(),
        "compared with": f"{report.name}:{report.live}, which was live" if report.live and report.compares else "",
        "data": report.data.get("path"),
        "fingerprint of the data": fingerprint.get("sha256") if isinstance(fingerprint, dict) else fingerprint,
        "notebook": report.notebook,
        "digest of the notebook": report.notebook_digest,
        "conditions": ", ".join(report.conditions),
        "judged": f"{report.started[:19].replace('T', ' ')} UTC by {report.by}, in {report.seconds:.1f} s",
        "parameters": ", ".join(f"{name} = {value!r}" for name, value in report.parameters.items() if value != ""),
    }
    rows = (
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in facts.items() if value
    )
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>'


def _slices(report: Report) -> str:
    """A row for each slice, a column for each metric."""
    found: dict[str, dict[str, Estimate]] = {}
    for name, record in report.metrics.items():
        base, _, part = name.partition("@")
        if part and "." not in base and (value := record.estimate) is not None:
            found.setdefault(part, {})[base] = value
    metrics = list(dict.fromkeys(base for values in found.values() for base in values))
    titles = [known.title if (known := metric(base)) else base for base in metrics]
    rows = [_row(part, *(_with_interval(values.get(base)) for base in metrics)) for part, values in found.items()]
    return _table(("slice", *titles), rows)


def _others(report: Report) -> str:
    return "".join(
        f"<p><strong>{text(name)}</strong> {_other(record)}</p>{_rows(record)}"
        for name, record in report.metrics.items()
        if record.estimate is None
    )


def _other(record: Record) -> str:
    return text(f"{len(record.value)} rows") if record.type == "table" else text(record.value)


def _rows(record: Record) -> str:
    if record.type != "table":
        return ""
    headers = list(dict.fromkeys(key for row in record.value for key in row))
    more = len(record.value) - MOST
    rest = f'<p class="soft">and {more} more rows, in report.json</p>' if more > 0 else ""
    return _table(headers, [_row(*(number(row.get(key)) for key in headers)) for row in record.value[:MOST]]) + rest


def _with_interval(value: Estimate | None) -> str:
    if value is None:
        return ""
    return number(value.value) + (f" ({interval(value)})" if interval(value) else "")


def _section(title: str, content: str) -> str:
    return f"<h2>{text(title)}</h2>\n{content}" if content else ""


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{text(title)}</summary>\n{content}</details>" if content else ""


def _table(headers: Iterable[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{text(head)}</th>' for head in headers)
    return f'<div class="wide"><table class="summary"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(_cells(cells))}</tr>"


def _cells(cells: Iterable[str]) -> Iterator[str]:
    for cell in cells:
        yield f"<td{_NUMBER if cell[:1].isdecimal() else ''}>{text(cell)}</td>"
