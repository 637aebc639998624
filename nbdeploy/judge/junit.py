"""A report as JUnit XML: a test case for each check, a property for each number, as CI systems show them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from nbdeploy.errors import DiskFailed

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.judge.outcome import Outcome
    from nbdeploy.judge.report import Report

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in no document, not even escaped


def write(report: Report, file: Path) -> None:
    """Raises DiskFailed."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text(report))
    except OSError as exc:
        holds = f"The report is stored in {report.folder}"
        raise DiskFailed("writing the checks", str(file), exc.strerror or str(exc), holds) from exc


def text(report: Report) -> bytes:
    counts = {
        "tests": str(len(report.checks)),
        "failures": str(sum(check.passed is False for check in report.checks)),
        "errors": "0",
        "skipped": str(sum(check.passed is None for check in report.checks)),
        "time": f"{report.seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": _text(report.subject), **counts})
    suite = ET.SubElement(
        root, "testsuite", {"name": _text(report.subject), "timestamp": report.started.removesuffix("Z"), **counts}
    )
    _properties(suite, report)
    for check in report.checks:
        _case(suite, report, check)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _properties(suite: ET.Element, report: Report) -> None:
    properties = ET.SubElement(suite, "properties")
    facts = {
        "verdict": report.verdict,
        "bundle": report.digest,
        "notebook": report.notebook,
        "notebook_digest": report.notebook_digest,
        "report": str(report.html),
    }
    for name, record in report.metrics.items():
        if (estimate := record.estimate) is None:
            continue
        facts[name] = _number(estimate.value)
        if estimate.low is not None and estimate.high is not None:
            facts[f"{name}.low"], facts[f"{name}.high"] = _number(estimate.low), _number(estimate.high)
    for name, value in facts.items():
        ET.SubElement(properties, "property", {"name": _text(name), "value": _text(value)})


def _case(suite: ET.Element, report: Report, check: Outcome) -> None:
    case = ET.SubElement(
        suite, "testcase", {"name": _text(check.name), "classname": _text(f"{report.name}.{check.kind}"), "time": "0"}
    )
    detail = _text(check.detail or check.word)
    if check.passed is False:
        ET.SubElement(case, "failure", {"message": detail, "type": check.kind}).text = f"{_text(check.name)}: {detail}"
    elif check.passed is None:
        ET.SubElement(case, "skipped", {"message": detail})


def _number(value: float) -> str:
    return (
        repr(value).removesuffix(".0")
        if math.isfinite(value)
        else "NaN"
        if math.isnan(value)
        else "Infinity"
        if value > 0
        else "-Infinity"
    )


def _text(value: str) -> str:
    return _NOT_XML.sub(lambda match: ascii(match[0])[1:-1], value)
