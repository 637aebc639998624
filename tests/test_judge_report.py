"""Reports: what they say, how they are kept, and that a changed byte is noticed."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from nbdeploy.errors import Corrupt, GateRefused, HomeUnavailable
from nbdeploy.judge import page, report
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.outcome import Outcome, failing_first
from nbdeploy.judge.records import Record
from nbdeploy.judge.report import Report

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

CHECKS = (
    Outcome("accuracy>=0.9", passed=True, value=0.93, condition="accuracy>=0.9"),
    Outcome("f1>=live", passed=None, detail="there is no live version"),
    Outcome("no <leak>", passed=False, detail="3 rows", kind="expectation"),
    Outcome("mae<=1", passed=False, value=math.nan, condition="mae<=1", detail="NaN is no number"),
)
METRICS = {
    "accuracy": Record("accuracy", "estimate", Estimate(0.93, 0.9, 0.96, 0.95, 120)),
    "live.accuracy": Record("live.accuracy", "number", 0.91),
    "accuracy@island=Dream": Record("accuracy@island=Dream", "number", 0.8),
    "mae": Record("mae", "number", math.nan),
    "own": Record("own", "number", 3.0),
    "said": Record("said", "text", "fine"),
    "table": Record("table", "table", [{"b": 1, "a": 2.5}]),
}


def made(folder: Path, **changes: Any) -> Report:
    """A report on a notebook that lies in `folder`."""
    nbformat.write(new_notebook(cells=[new_code_cell("1", execution_count=1)]), folder / "executed.ipynb")
    known: dict[str, Any] = {
        "subject": "penguins@0123456789ab",
        "name": "penguins",
        "version": None,
        "digest": f"sha256:{'0123456789abcdef' * 4}",
        "notebook": "gate.ipynb",
        "notebook_digest": "sha256:1",
        "checks": failing_first(CHECKS),
        "metrics": METRICS,
        "conditions": ("accuracy>=0.9", "f1>=live", "mae<=1"),
        "data": {"path": None, "rows": 120, "columns": ["a", "b"], "fingerprint": "f", "target": "y"},
        "parameters": {"least": 0.5, "names": ["a"]},
        "warnings": ("careful",),
        "ended": "done",
        "started": "2026-11-21T05:26:00.123Z",
        "seconds": 1.5,
        "by": "ada",
        "folder": folder,
    }
    return Report(**{**known, **changes})


@pytest.fixture
def stored(settings: Settings) -> Report:
    with report.draft(settings.reports) as folder:
        return report.store(made(folder), settings.reports)


@pytest.mark.parametrize(
    ("checks", "ended", "verdict", "sentence"),
    [
        (CHECKS, "done", "refused", "2 of 3 checks failed: no <leak>, mae<=1."),
        (CHECKS[:2], "done", "passed", "The one check holds; 1 did not apply."),
        (CHECKS[:1] * 3, "done", "passed", "All 3 checks hold."),
        (CHECKS[1:2], "done", "refused", "Nothing was checked."),
        ((), "done", "refused", "Nothing was checked."),
        (
            CHECKS[2:3] * 7,
            "done",
            "refused",
            "7 of 7 checks failed: no <leak>, " + "no <leak>, " * 3 + "no <leak> and 2 more.",
        ),
        (
            CHECKS[:1],
            "the kernel died at In[3]",
            "refused",
            "The notebook did not come to its end: the kernel died at In[3].",
        ),
        ((), "stopped: compare it.", "refused", "The notebook did not come to its end: stopped: compare it."),
    ],
)
def test_the_verdict_in_words(tmp_path: Path, checks: Any, ended: str, verdict: str, sentence: str) -> None:
    found = made(tmp_path, checks=failing_first(checks), ended=ended)
    assert (found.verdict, found.sentence) == (verdict, sentence)


def test_it_is_read_back_as_it_was_stored(stored: Report, settings: Settings) -> None:
    found = Report.load(stored.folder)
    assert repr(found) == repr(stored)  # NaN equals itself there
    assert found.checks[1].name == "mae<=1"
    assert list(found.metrics["table"].value[0]) == ["b", "a"]
    assert stored.folder.parent == settings.reports / "penguins"
    assert stored.folder.name.startswith("20261121T052600Z-0123456789ab-")
    assert {path.name for path in stored.folder.iterdir()} == {"executed.ipynb", "report.html", "report.json"}
    assert {path.stat().st_mode & 0o077 for path in (stored.folder, stored.html, stored.folder / "report.json")} == {0}
    assert not list((settings.reports / ".drafts").iterdir())


def test_it_is_strict_json(stored: Report) -> None:
    told = json.loads(json.dumps(stored.to_dict(), allow_nan=False))
    assert told["verdict"] == "refused"
    assert told["metrics"]["mae"]["value"] == "NaN"
    assert told["html"] == str(stored.html)


@pytest.mark.parametrize("name", ["report.json", "executed.ipynb"])
def test_any_changed_byte_is_noticed(stored: Report, name: str) -> None:
    path = stored.folder / name
    content = path.read_bytes()
    for place in range(0, len(content), 1 + len(content) // 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Corrupt, match=name):
            Report.load(stored.folder)
    path.write_bytes(content + b"\n")
    with pytest.raises(Corrupt, match=name):
        Report.load(stored.folder)
    path.unlink()
    with pytest.raises(Corrupt, match=f"{name}.*gone"):
        Report.load(stored.folder)


def test_a_seal_of_another_report_does_not_help(stored: Report) -> None:
    path = stored.folder / "report.json"
    raw = json.loads(path.read_bytes())
    path.write_bytes(report._dumps({**raw, "ended": "later"}))
    with pytest.raises(Corrupt, match=r"report\.json.*checksum"):
        Report.load(stored.folder)


def test_what_is_not_stored_leaves_nothing(settings: Settings) -> None:
    with report.draft(settings.reports) as folder:
        made(folder)
    assert not list((settings.reports / ".drafts").iterdir())


def test_the_draft_of_a_dead_process_is_swept_and_no_other(settings: Settings) -> None:
    with report.draft(settings.reports) as mine:
        dead = mine.parent / "dead"
        dead.mkdir()
        (dead / "executed.ipynb").write_text("{")
        assert report.sweep(settings.reports) == ["dead"]
        assert mine.is_dir()
        assert not dead.exists()


def test_files_the_notebook_kept_stay_with_it(settings: Settings) -> None:
    with report.draft(settings.reports) as folder:
        (folder / "out").mkdir()
        (folder / "out" / "flips.csv").write_text("row")
        stored = report.store(made(folder), settings.reports)
    assert (stored.folder / "out" / "flips.csv").read_text() == "row"


def test_a_page_that_cannot_be_made_does_not_lose_the_evidence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Report) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "page", broken)
    with pytest.raises(HomeUnavailable, match="No space left"), report.draft(settings.reports) as folder:
        report.store(made(folder), settings.reports)
    (kept,) = (settings.reports / "penguins").iterdir()
    assert Report.load(kept).verdict == "refused"


def test_its_card_says_what_failed_first_and_where_the_page_is(stored: Report) -> None:
    told = str(stored)
    order = [
        told.index(word)
        for word in ("refused by the gate", "2 of 3 checks failed", "mae<=1", "accuracy>=0.9", "careful")
    ]
    assert order == sorted(order)
    assert str(stored.html) in told
    assert "120 rows, 2 columns, target y" in told
    assert "0.9 to 0.96" in told
    shown = stored._repr_html_()
    assert "no &lt;leak&gt;" in shown
    assert "<leak>" not in shown


def test_a_report_on_nothing_has_a_card(tmp_path: Path) -> None:
    found = made(tmp_path, checks=(), metrics={}, data={}, warnings=(), version="1.2.0", subject="penguins:1.2.0")
    assert "nothing was checked" in str(found)
    assert "no data was given" in str(found)


def test_the_error_carries_the_report_between_processes(stored: Report) -> None:
    failing = [str(check) for check in stored.checks if check.passed is False]
    error = pickle.loads(pickle.dumps(GateRefused(stored.subject, failing, str(stored.html), stored)))
    assert error.report.folder == stored.folder
    assert str(error).splitlines() == [
        "The gate refuses penguins@0123456789ab; nothing was published.",
        "  - no <leak>: failed (3 rows)",
        "  - mae<=1: failed (NaN is no number)",
        f"The report: {stored.html}",
    ]
    assert "nothing was published" not in str(GateRefused("a:1.0.0", failing, "p", published=True))


def test_the_metrics_of_all_rows_stand_beside_the_live_version_s(stored: Report) -> None:
    assert [(item.name, item.title) for item in stored.measured] == [
        ("accuracy", "Accuracy"),
        ("mae", "Mean absolute error"),
        ("own", "own"),
    ]
    assert [item.name for item in stored.key] == ["accuracy", "mae"]
    assert [item.name for item in replace(stored, metrics={"own": METRICS["own"]}).key] == ["own"]
    assert stored.measured[0].live == Estimate(0.91)
    assert replace(stored, metrics={}).measured == ()
