"""A report as JUnit XML: well-formed whatever the names hold, with failures, skips and numbers where CI looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.errors import DiskFailed
from nbdeploy.judge import junit
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.outcome import Outcome
from nbdeploy.judge.records import Record
from nbdeploy.judge.report import Report

CHECKS = (
    Outcome("accuracy>=0.9", passed=False, value=0.8, detail="0.8, below 0.9"),
    Outcome("f1>=0.5", passed=True, value=0.8),
    Outcome("accuracy>=live", passed=None, detail="there is no live version"),
    Outcome("no leakage", passed=True, kind="expectation"),
)


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "subject": "penguins:1.0.0",
        "name": "penguins",
        "version": "1.0.0",
        "digest": "sha256:00",
        "notebook": "gate.ipynb",
        "notebook_digest": "sha256:11",
        "checks": CHECKS,
        "metrics": {
            "accuracy": Record("accuracy", "estimate", Estimate(0.8, 0.7, float("nan"))),
            "note": Record("note", "text", "hello"),
        },
        "conditions": (),
        "data": {},
        "parameters": {},
        "ended": "done",
        "started": "2026-11-21T06:00:00Z",
        "seconds": 1.5,
        "by": "me",
        "folder": Path("/reports/penguins/x"),
    }
    return Report(**facts | changes)


def suite_of(made: Report) -> ET.Element:
    root = ET.fromstring(junit.text(made))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    return suite


def test_checks_are_cases_and_numbers_are_properties() -> None:
    suite = suite_of(report())
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "1.500",
    }
    assert suite.get("timestamp") == "2026-11-21T06:00:00"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [check.name for check in CHECKS]
    assert [child.tag for case in cases for child in case] == ["failure", "skipped"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("0.8, below 0.9", "accuracy>=0.9: 0.8, below 0.9")
    properties = {item.get("name"): item.get("value") for item in suite.iterfind("properties/property")}
    assert properties["verdict"] == "refused"
    assert properties["accuracy"] == "0.8"
    assert properties["accuracy.high"] == "NaN"
    assert "note" not in properties
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 4]  # the order its schema asks for


@given(st.text(), st.text(), st.sampled_from([True, False, None]))
def test_any_name_and_detail_make_a_document(name: str, detail: str, passed: bool | None) -> None:
    suite = suite_of(report(checks=(Outcome(name, passed=passed, detail=detail),), subject=name))
    (case,) = suite.findall("testcase")
    if name.isprintable() and name.isascii():
        assert case.get("name") == name


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskFailed, match="The report is stored in"):
        junit.write(report(), tmp_path / "file" / "checks.xml")
    junit.write(report(), tmp_path / "new" / "checks.xml")
    assert (tmp_path / "new" / "checks.xml").read_bytes().startswith(b"<?xml")
