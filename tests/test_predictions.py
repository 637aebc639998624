"""`predictions`: the log as its user sees it, in a notebook, in a terminal and as files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from ofage import OfAge

from nbdeploy import cli
from nbdeploy.errors import DiskFailed, NotFound, WrongUse
from nbdeploy.run import glance
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head, line
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from nbdeploy.settings import Settings

NOW = datetime.now(UTC)
COLUMNS = {"age": "integer", "town": "category"}


def record(number: int, *, hours: float = 0.0, **changed: Any) -> bytes:
    content: dict[str, Any] = {
        "time": (NOW - timedelta(hours=hours)).timestamp(),
        "request_id": f"id{number}",
        "version": "1.0.0",
        "schema": "abc",
        "method": "predict",
        "status": 200,
        "milliseconds": 1.5,
    }
    answered = {"rows": [{"age": number, "town": "<b>Ulm</b>"}], "predictions": [number / 3]}
    return line(json.dumps({**content, **({} if changed.keys() & {"code", "count"} else answered), **changed}).encode())


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    """A name with a version and a log."""
    import pandas as pd

    made = Workspace(settings)
    made.publish(made.bundle(OfAge(), name="people", sample=pd.DataFrame({"age": [1, 50]})))
    folder = settings.services / "people" / "predictions"
    folder.mkdir(parents=True)
    start = head("abc", Policy({"email": "drop"}), COLUMNS, ())
    old = [record(number, hours=30) for number in range(3)]
    new = [record(7), record(8, status=422, code="invalid_rows"), record(9, count=5)]
    (folder / "0000000000000001-7.log").write_bytes(start + b"".join(old))
    (folder / "0000000000000002-7.log").write_bytes(start + b"".join(new) + b"torn")
    return made


def test_counts_and_the_last_rows_are_shown(workspace: Workspace) -> None:
    shown = str(workspace.predictions("people"))
    for words in ("6, refused: 1 invalid_rows", "1.0.0 (6)", "2.33333", "email (drop)", "not sampled", "1 torn"):
        assert words in shown
    html = workspace.predictions("people")._repr_html_()
    assert "<b>Ulm" not in html
    assert "Ulm" in html


def test_probabilities_are_shown_the_highest_first() -> None:
    scores = {"a": 0.012180215485071297, "b": 0.9, "c": 0.05, "d": 0.0378}
    assert glance._shown(scores) == "b 0.9, c 0.05, d 0.0378, ..."
    assert glance._shown({"a": 1.0, "b": 0.0}) == "a 1, b 0"
    assert glance._shown({"a": "text"}) == {"a": "text"}


def test_one_json_value_says_the_same(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predictions", "people", "--json"], lambda: workspace) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = {"name": "people", "requests": 6, "answered": 5, "rows": 9, "not_sampled": 1, "torn": 1, "damaged": 0}
    assert told | wanted == told
    assert (told["refused"], told["versions"]) == ({"invalid_rows": 1}, {"1.0.0": 6})
    assert told["policy"] == {"abc": {"email": "drop"}}
    assert [row["request_id"] for row in told["last_rows"]] == ["id0", "id1", "id2", "id7", "id8", "id9"]
    assert told["last_rows"][3]["input.age"] == 7
    assert told["last_rows"][4]["input.age"] is None
    assert told["last"].endswith("Z")


def test_the_last_of_it(workspace: Workspace) -> None:
    assert list(workspace.predictions("people", last="1h").requests()["request_id"]) == ["id7", "id8", "id9"]
    assert list(workspace.predictions("people", last="2d").tail(2)["request_id"]) == ["id8", "id9"]
    assert "nothing logged" in str(workspace.predictions("people", last="0s"))
    with pytest.raises(WrongUse, match="30m, 1h"):
        workspace.predictions("people", last="soon")


def test_files_for_others(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["predictions", "people", "--parquet", str(out), "--json"], lambda: workspace) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert sorted(map(str, out.iterdir())) == files
    assert duckdb.sql(f"SELECT count(*), sum(\"input.age\") FROM '{out}/*.parquet'").fetchall() == [(6, 10)]
    assert (
        cli.main(["predictions", "people", "--parquet", str(tmp_path / "none"), "--last", "0s"], lambda: workspace) == 0
    )
    assert "Nothing is logged of people in the last 0s to write" in capsys.readouterr().out
    (tmp_path / "l.csv").touch()
    with pytest.raises(WrongUse, match=r"l\.csv is a file, .* name a folder"):
        workspace.predictions("people").write_parquet(tmp_path / "l.csv")
    with pytest.raises(DiskFailed, match=r"below failed at .*: Not a directory"):
        workspace.predictions("people").write_parquet(tmp_path / "l.csv" / "below")


def test_a_name_nobody_knows_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match='Did you mean "people"'):
        workspace.predictions("peple")


def test_looking_lets_old_segments_go_and_says_so(workspace: Workspace) -> None:
    limited = Workspace(replace(workspace.settings, log={"retention_days": 1}))
    folder = workspace.predictions("people").folder
    os.utime(min(folder.glob("*.log")), (0, 0))
    assert len(limited.predictions("people").requests()) == 3
    [event] = [event for event in limited.registry.events("people") if event.kind == "log cleaned"]
    assert event.detail["segments"] == 1
    assert len(list(folder.glob("*.log"))) == 1


def test_old_segments_that_cannot_be_removed_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object) -> None:
        raise PermissionError(13, "Permission denied")

    limited = Workspace(replace(workspace.settings, log={"retention_days": 0}))
    monkeypatch.setattr("nbdeploy.deployment.clean", refused)
    assert len(limited.predictions("people").segments()) == 2


def test_a_retention_that_makes_no_sense_removes_nothing(workspace: Workspace) -> None:
    limited = Workspace(replace(workspace.settings, log={"retention_days": "1"}))
    with pytest.raises(WrongUse, match="retention_days = '1'"):
        limited.predictions("people")
    assert len(workspace.predictions("people").segments()) == 2


def test_the_last_rows_are_those_of_all_workers(tmp_path: Path) -> None:
    """Segments of several processes lie side by side in time."""
    for worker in range(3):
        found = [record(10 * number + worker, hours=10 - number - worker / 4) for number in range(8)]
        (tmp_path / f"{worker:016d}-{worker}.log").write_bytes(b"".join(found))
    tail: pd.DataFrame = Predictions(tmp_path).tail(5)
    whole = Predictions(tmp_path).frame()
    assert list(tail["request_id"]) == list(whole["request_id"].tail(5))
    assert set(tail["worker"]) == {0, 1, 2}
