"""What was counted once of a closed segment is added up at the next look, and says the same."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from nbdeploy import parquet
from nbdeploy.capture.profile import Profile, profile
from nbdeploy.errors import UnsupportedData
from nbdeploy.run import beside
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime import predlog
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.records import line
from nbdeploy.runtime.retention import clean
from nbdeploy.watch import counting, served
from nbdeploy.watch.axis import Axis
from nbdeploy.watch.baseline import Baseline

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.watch.served import Served

HOUR = timedelta(hours=1)
BEGAN = datetime(2026, 11, 20, tzinfo=UTC)
AXIS = Axis(BEGAN, BEGAN + 12 * HOUR, HOUR, BEGAN + 11.5 * HOUR)
SCHEMA = Schema(
    container="frame",
    library="pandas",
    columns=(
        Column("mass", "number", "float64"),
        Column("island", "category", "str"),
        Column("said", "text", "str"),
        Column("prediction", "boolean", "bool"),
    ),
)


def rows_of(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "mass": np.where(random.random(count) < 0.1, np.nan, random.normal(4_000, 500, count).round()),
            "island": random.choice(["Dream", "Biscoe"], count),
            "said": random.choice(["", "a", "much longer"], count),
            "prediction": random.random(count) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def trained() -> Profile:
    rows = rows_of(500, 0)
    return Profile.from_dict(profile(rows, SCHEMA, predictions=rows["mass"] > 4_000))


@dataclass
class Logged:
    """A log of our own, and its looks: each counts anew what is not kept."""

    folder: Path
    baselines: dict[str, Baseline]
    counted: list[int] = field(default_factory=list)  # batches of each look

    def segment(self, hours: float, *, rows: int = 60, seed: int = 1, version: str = "1.0.0", ask: Any = None) -> Path:
        """Of two hours' requests of three rows, each asked of both methods."""
        self.folder.mkdir(exist_ok=True)
        given = json.loads((rows_of(rows, seed) if ask is None else ask).to_json(orient="records"))
        began = BEGAN + hours * HOUR
        lines = []
        for number in range(0, rows, 3):
            part = given[number : number + 3]
            start = {"time": (began + 2 * HOUR * number / rows).timestamp(), "request_id": f"{seed}-{number}"}
            start |= {"milliseconds": 1.0, "version": version, "schema": "abc", "status": 200, "rows": part}
            sure = [{"True": share, "False": 1 - share} for share in np.linspace(0, 1, len(part)).tolist()]
            lines.append(start | {"method": "predict", "predictions": [row["mass"] != 4_000 for row in part]})
            lines.append(start | {"method": "predict_proba", "predictions": sure})
        path = self.folder / f"{round(began.timestamp() * 1e6):016d}-{seed}.log"
        path.write_bytes(b"".join(line(json.dumps(one).encode()) for one in lines))
        return path

    def unread(self) -> int:
        return Predictions(self.folder).size(unread=True)

    def look(self, axis: Axis = AXIS, **how: Any) -> dict[str, Served]:
        self.counted.append(0)
        return served.read(
            Predictions(self.folder).within(axis.began, axis.ended).pieces(), self.baselines, axis, **how
        )


@pytest.fixture
def log(tmp_path: Path, trained: Profile, monkeypatch: pytest.MonkeyPatch) -> Logged:
    labels = {"True": True, "False": False}
    made = Logged(tmp_path / "log", {"1.0.0": Baseline("1.0.0", trained, "abc", labels=labels)})

    def watched(*given: Any) -> Any:
        made.counted[-1] += 1
        return counting.counted(*given)

    monkeypatch.setattr("nbdeploy.watch.served.counted", watched)
    return made


def said(found: dict[str, Served]) -> dict[str, Any]:
    """All that a look is made of."""
    return {
        version: (
            one.windows(),
            [one.distinct(place) for place in one.places],
            {place: one.shares([place]).tolist() for place in one.sampled},
            one.broken,
        )
        for version, one in found.items()
    }


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrays"))


def test_a_second_look_counts_nothing_and_says_the_same(log: Logged) -> None:
    for place in range(4):
        log.segment(1.5 * place, seed=place + 1)
    first, second = log.look(), log.look()
    assert log.counted == [4, 0]
    assert said(first) == said(second)
    assert sum(window.profile.rows for window in first["1.0.0"].windows()) == 4 * 2 * 60
    assert len(first["1.0.0"].sampled) == 7
    assert {round(window.repeats, 2) for window in first["1.0.0"].windows()} == {2.0}
    for path in kept(log.folder):
        path.unlink()
    assert said(log.look()) == said(first)


def test_only_new_segments_are_counted_and_growing_ones_each_time(log: Logged) -> None:
    log.segment(0, seed=1)
    log.look()
    log.segment(3, seed=2)
    writer = predlog.PredictionLog(log.folder)
    text = log.segment(6, seed=3)
    for record in text.read_bytes().splitlines(keepends=True):
        writer.write(record, 3)
    text.unlink()
    assert log.unread() > 0
    looks = [said(log.look()) for _ in range(2)]
    assert log.unread() == 0  # what grows is read at each look
    writer.close()
    assert looks[0] == looks[1]
    assert log.counted == [1, 2, 1]


def test_columns_that_cannot_be_counted_and_empty_ones_come_back_as_they_were(log: Logged, trained: Profile) -> None:
    policy = {"island": "drop", "mass": "bucket"}
    columns = ("mass", "island", "said")
    log.baselines["1.0.0"] = replace(log.baselines["1.0.0"], policy=policy, columns=columns)
    log.segment(0, ask=rows_of(60, 1).assign(mass=None, said=pd.Series([[1], {"a": 1}] * 30, dtype=object)))
    first, second = log.look(), log.look()
    assert log.counted == [1, 0]
    assert said(first) == said(second)
    assert set(second["1.0.0"].broken) == {"input.island", "input.prediction"}
    window = second["1.0.0"].windows()[0].profile
    assert window.columns["mass"].missing == window.rows
    assert getattr(window.columns["said"], "odd", 0) == window.rows


def test_half_characters_hide_nothing_else(log: Logged) -> None:
    path = log.segment(0, ask=rows_of(60, 1).assign(said="half"))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line(text[9:].replace(b"half", rb"\ud800")) for text in lines))
    first, second = log.look(), log.look()
    assert said(first) == said(second)
    assert first["1.0.0"].rows == 120
    assert first["1.0.0"].distinct(0).count == 60


def test_another_baseline_or_another_length_of_window_is_counted_anew(log: Logged, trained: Profile) -> None:
    log.segment(0)
    log.look()
    other = replace(trained, columns={**trained.columns, "mass": trained.columns["said"]})
    for change in (
        {"profile": other},
        {"policy": {"mass": "drop"}},
        {"labels": {"False": False, "True": True}},
        {"columns": ("mass",)},
        {"own": False},
    ):
        own = log.baselines["1.0.0"]
        log.baselines["1.0.0"] = replace(own, **change)
        log.look()
        log.baselines["1.0.0"] = own
        log.look()
        assert log.counted[-2:] == [1, 1], change
    log.look(replace(AXIS, every=2 * HOUR))
    log.look(replace(AXIS, every=2 * HOUR))
    log.look()
    assert log.counted[-3:] == [1, 0, 0]
    assert len(kept(log.folder)) == 2


def test_the_counts_of_a_profile_do_not_matter_only_its_bins(log: Logged, trained: Profile) -> None:
    log.segment(0)
    log.look()
    log.baselines["1.0.0"] = replace(log.baselines["1.0.0"], profile=trained.counted(rows_of(9, 9)), called="before")
    log.look()
    assert log.counted == [1, 0]


def test_versions_of_one_segment_are_kept_apart(log: Logged, trained: Profile) -> None:
    one, two = log.segment(0, seed=1), log.segment(0, seed=2, version="2.0.0")
    one.write_bytes(one.read_bytes() + two.read_bytes())
    two.unlink()
    log.baselines["2.0.0"] = Baseline("2.0.0", trained, "abc")
    both = [said(log.look()) for _ in range(2)]
    assert both[0] == both[1]
    del log.baselines["1.0.0"]
    assert said(log.look()) == {"2.0.0": both[0]["2.0.0"]}
    assert log.counted == [2, 0, 0]


def test_a_version_that_had_no_baseline_is_counted_once_it_has_one(log: Logged, trained: Profile) -> None:
    log.segment(0, version="2.0.0")
    assert log.look()["1.0.0"].rows == 0
    log.baselines["2.0.0"] = Baseline("2.0.0", trained, "abc")
    assert [log.look()["2.0.0"].rows for _ in range(2)] == [120, 120]
    assert log.counted == [0, 1, 0]


def test_of_a_segment_that_lies_partly_in_view_that_part_is_counted_each_time(log: Logged) -> None:
    log.segment(0)
    later = replace(AXIS, began=BEGAN + HOUR)
    counted = said(log.look(later))
    assert not kept(log.folder)
    log.look()
    assert said(log.look(later)) == counted
    assert log.counted == [1, 1, 1]


def test_a_window_that_the_view_cuts_has_only_what_is_in_view(log: Logged) -> None:
    log.segment(0)
    log.look()
    view = Predictions(log.folder).within(BEGAN + HOUR / 2, AXIS.ended)
    assert served.read(view.pieces(), log.baselines, AXIS)["1.0.0"].rows == 90


def test_the_probabilities_kept_of_a_version_do_not_hang_on_others(log: Logged, trained: Profile) -> None:
    one, two = log.segment(0, rows=4_800), log.segment(0, rows=4_800, seed=2, version="2.0.0")
    one.write_bytes(one.read_bytes() + two.read_bytes())
    two.unlink()
    log.baselines["2.0.0"] = replace(log.baselines["1.0.0"], version="2.0.0")
    both = said(log.look())
    del log.baselines["1.0.0"]
    [path] = kept(log.folder)
    path.unlink()
    assert said(log.look()) == {"2.0.0": both["2.0.0"]}
    assert log.counted == [2, 1]


def test_what_would_take_more_than_the_segment_is_not_kept(log: Logged) -> None:
    log.segment(0)
    log.look(replace(AXIS, every=timedelta(minutes=1)))
    assert not kept(log.folder)
    log.look()
    assert kept(log.folder)


def test_what_is_kept_that_cannot_be_read_is_counted_anew(log: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    log.segment(0)
    wanted = said(log.look())

    def refused(path: Path, flags: int = 0) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(beside, "opened", refused)
    assert said(log.look()) == wanted


def test_of_a_copy_that_cannot_be_read_nothing_is_kept(log: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment itself may be gone by then."""
    path = log.segment(0)

    def gone(*_: Any, **__: Any) -> pd.DataFrame:
        path.unlink()
        raise UnsupportedData(str(path), "cannot be read as Parquet", "write it again")

    monkeypatch.setattr(parquet.Reader, "frame", gone)
    assert log.look()["1.0.0"].rows == 0
    assert not kept(log.folder)


def test_windows_that_are_not_on_clock_time_are_not_kept(log: Logged) -> None:
    log.segment(1)
    shifted = replace(AXIS, began=AXIS.began + timedelta(minutes=7), ended=AXIS.ended + timedelta(minutes=7))
    log.look(shifted)
    assert not kept(log.folder)


def test_every_piece_passes_by_also_of_what_is_kept(log: Logged) -> None:
    log.segment(0)
    for _ in range(2):
        seen: list[int] = []
        log.look(passing=lambda piece, seen=seen: seen.append(len(piece.frame(["request_id"]))))
        assert seen == [120]
    assert log.counted == [1, 0]


def test_what_is_not_as_it_was_written_is_not_believed(tmp_path: Path) -> None:
    segment = tmp_path / "0-1.log"
    beside.write(segment, "60us", {"one": np.arange(9), "two": np.empty((0, 2))})
    [path] = tmp_path.iterdir()
    text = path.read_bytes()
    damaged = [b"", text[: len(text) // 2], b"\0" * len(text), text + b"\0"]
    damaged += [text[:place] + bytes([text[place] ^ 0x41]) + text[place + 1 :] for place in range(len(text))]
    for one in damaged:
        path.write_bytes(one)
        assert beside.read(segment, "60us") is None
    path.write_bytes(text)
    assert beside.read(segment, "60us") is not None
    assert beside.read(segment, "61us") is None


def test_what_was_damaged_is_counted_anew_and_kept_again(log: Logged) -> None:
    log.segment(0)
    wanted = said(log.look())
    [path] = kept(log.folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert [said(log.look()) for _ in range(2)] == [wanted, wanted]
    assert log.counted == [1, 1, 0]


def test_a_segment_of_another_length_is_counted_anew(log: Logged) -> None:
    path = log.segment(0)
    log.look()
    path.write_bytes(path.read_bytes() + log.segment(1, seed=5).read_bytes())
    assert log.look()["1.0.0"].rows == 4 * 60 + 2 * 60
    assert log.counted == [1, 2]


def test_where_nothing_can_be_kept_a_look_is_only_slower(log: Logged) -> None:
    log.segment(0)
    wanted = said(log.look())
    [path] = kept(log.folder)
    path.unlink()
    path.mkdir()
    assert said(log.look()) == wanted
    assert not list(log.folder.glob(".*"))


def test_what_is_kept_goes_with_its_segment(log: Logged) -> None:
    first, _ = log.segment(0), log.segment(3, seed=2)
    log.look()
    assert len(kept(log.folder)) == 2
    os.utime(first, (0, 0))
    clean(log.folder, 1, None)
    assert [path.name.split(".")[0] for path in kept(log.folder)] == [
        f"{round((BEGAN + 3 * HOUR).timestamp() * 1e6):016d}-2"
    ]
    for path in log.folder.glob("*.log"):
        path.unlink()
    clean(log.folder, None, None)
    assert not kept(log.folder)
