"""Whether the labelled part of a log is like the rest, judged by a bounded sample of both."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from livemetrics import live, say, write

from nbdeploy import parquet
from nbdeploy.capture.profile import Profile, profile
from nbdeploy.errors import UnsupportedData
from nbdeploy.run import copies
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.piece import Piece
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.watch import likeness
from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.likeness import Drawn
from nbdeploy.watch.live import Log

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
SCHEMA = Schema("frame", (Column("age", "number", "float64"), Column("island", "category", "str")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "predictions"
    made.mkdir()
    return made


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "feedback")


def people(rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"age": random.normal(40, 12, rows), "island": random.choice(["a", "b"], rows)})


BINS = Profile.from_dict(profile(people(1_500), SCHEMA, predictions=[0, 1] * 750))


def ask(folder: Path, rows: pd.DataFrame, *, ids: str = "r", version: str = "1.0.0") -> list[str]:
    """A request for each row, in segments of at most 500; their ids."""
    listed = rows.astype(object).where(rows.notna(), None).to_dict(orient="records")
    asked = [
        {
            "request_id": f"{ids}{place}",
            "rows": [row],
            "predictions": [int((row["age"] or 0) > 50)],
            "version": version,
        }
        for place, row in enumerate(listed)
    ]
    for begin in range(0, len(asked), 500):
        write(folder, *asked[begin : begin + 500])
    return [str(request["request_id"]) for request in asked]


def label(feedback: Feedback, ids: list[str]) -> None:
    say(feedback, {"request_id": ids, "label": [1] * len(ids)})


def warned(folder: Path, feedback: Feedback, **references: Profile) -> tuple[str, ...]:
    named = {version.removeprefix("v").replace("_", "."): bins for version, bins in references.items()}
    baselines = {version: Baseline(version, bins) for version, bins in (named or {"1.0.0": BINS}).items()}
    return live(Predictions(folder), feedback, "classification", baselines=baselines).warnings


def test_a_labelled_part_unlike_the_rest_is_warned_of(folder: Path, feedback: Feedback) -> None:
    rows = people(1_500)
    ids = ask(folder, rows)
    old = [ids[place] for place in rows.index[rows["age"] > 45]]
    label(feedback, old)
    found = live(Predictions(folder), feedback, "classification", baselines={"1.0.0": Baseline("1.0.0", BINS)})
    assert ["input.age" in found.warnings[0], "prediction" in found.warnings[1], len(found.warnings)] == [True, True, 2]
    assert "unlike the rest in input.age" in str(found)
    few = Feedback(feedback.folder.with_name("few"))
    label(few, old[:10])
    assert warned(folder, few) == (), "too few to say"
    even = Feedback(feedback.folder.with_name("even"))
    label(even, ids[::5])
    assert warned(folder, even) == ()


def test_a_row_beside_a_labelled_one_and_one_whose_label_is_not_known_yet_are_of_the_rest(
    folder: Path, feedback: Feedback
) -> None:
    rows = people(1_500)
    ids = ask(folder, rows)
    say(feedback, {"request_id": ids, "label": [1 if age > 45 else None for age in rows["age"]]})
    assert "input.age" in str(warned(folder, feedback))
    several, oldest = folder.with_name("several"), rows["age"].to_numpy().reshape(300, 5).argmax(axis=1)
    several.mkdir()
    unkept: dict[str, Any] = {"request_id": "unkept", "rows": [], "count": 5}
    fives = [
        {"request_id": ids[at], "rows": rows[at : at + 5].to_dict(orient="records"), "predictions": [at % 2] * 5}
        for at in range(0, 1_500, 5)
    ]
    write(several, *fives, unkept)
    placed = Feedback(feedback.folder.with_name("placed"))
    say(placed, {"request_id": [*ids[::5], "unkept"], "row": [*oldest, 0], "label": [1] * 301})
    assert "input.age" in str(warned(several, placed))
    whole = Feedback(feedback.folder.with_name("whole"))
    given = {"request_id": np.repeat(ids[:500:5], 5), "row": [*range(5)] * 100, "label": [1] * 500}
    say(whole, given)
    assert warned(several, whole) == ()


def test_each_version_is_held_against_its_own_rows(folder: Path, feedback: Feedback) -> None:
    """That labels come later, so that the old version has more of them, makes none of them unlike."""
    old, young = people(1_000), people(1_000, 1)
    young["age"] += 30
    label(feedback, ask(folder, old)[::2])
    ids = ask(folder, young, ids="n", version="1.1.0")
    label(feedback, ids[:40])
    assert warned(folder, feedback, v1_0_0=BINS, v1_1_0=BINS) == ()
    label(feedback, [ids[place] for place in young.index[young["age"] > 80]])
    [age, *_] = warned(folder, feedback, v1_0_0=BINS, v1_1_0=BINS)
    assert age.startswith("The labelled rows of 1.1.0 are unlike its others in input.age: ")


def test_rows_that_were_asked_again_and_again_are_no_more_than_once(folder: Path, feedback: Feedback) -> None:
    def wide(rows: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        return people(rows, seed).assign(**{f"x{place}": random.normal(size=rows) for place in range(6)})

    columns = (*SCHEMA.columns, *(Column(f"x{place}", "number", "float64") for place in range(6)))
    bins = Profile.from_dict(profile(wide(1_500, 99), Schema("frame", columns), predictions=[0, 1] * 750))
    told = 0
    for seed in range(10):
        own = folder / str(seed)
        own.mkdir()
        ids = ask(own, pd.concat([wide(100, seed)] * 20, ignore_index=True))
        given = Feedback(feedback.folder.with_name(f"feedback{seed}"))
        label(given, [name for place, name in enumerate(ids) if place % 100 < 50])
        told += bool(warned(own, given, v1_0_0=bins))
    assert told <= 1, "half of 100 people are not unlike the others because each was asked about 20 times"


def test_few_of_rows_that_repeat_since_there_are_few_items_are_not_unlike_the_many(
    folder: Path, feedback: Feedback
) -> None:
    """Some items are asked for often, and each has one price and one weight: all columns of a row tell the same."""
    random = np.random.default_rng(5)
    price = random.lognormal(3, 1, 200).round(2)
    items = pd.DataFrame({"item": np.arange(200.0), "price": price, "weight": price**0.5})
    often = 1 / np.arange(1, 201) ** 1.1

    def sold(rows: int) -> pd.DataFrame:
        return items.iloc[random.choice(200, rows, p=often / often.sum())].reset_index(drop=True)

    columns = tuple(Column(str(name), "number", "float64") for name in items)
    bins = Profile.from_dict(profile(sold(1_500), Schema("frame", columns), predictions=[0, 1] * 750))
    asked = sold(5_000).assign(age=40.0)
    ids = ask(folder, asked)
    even = random.permutation(5_000)
    for place in range(5):
        given = Feedback(feedback.folder.with_name(f"even{place}"))
        label(given, [ids[number] for number in even[place * 300 : (place + 1) * 300]])
        assert warned(folder, given, v1_0_0=bins) == ()
    label(feedback, [ids[number] for number in even if asked["price"][number] > 30][:300])
    assert "input.price" in str(warned(folder, feedback, v1_0_0=bins))


def test_a_column_that_is_mostly_missing_is_no_other_where_few_are_labelled(folder: Path, feedback: Feedback) -> None:
    """No value among the labelled rows of a segment is missing values, as it is among the others."""
    rows = people(3_000)
    rows.loc[np.random.default_rng(7).random(3_000) > 0.1, "age"] = None
    bins = Profile.from_dict(profile(rows, SCHEMA, predictions=[0, 1] * 1_500))
    label(feedback, ask(folder, rows)[::60])
    assert warned(folder, feedback, v1_0_0=bins) == ()


def test_a_bounded_sample_is_read_and_the_same_at_every_look(
    folder: Path, feedback: Feedback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "MOST", 200)
    read: list[int] = []
    whole = Piece.rows

    def rows(piece: Piece, numbers: Any, columns: Any) -> pd.DataFrame:
        read.append(len(numbers))
        return whole(piece, numbers, columns)

    monkeypatch.setattr(Piece, "rows", rows)
    asked = people(4_000)
    ids = ask(folder, asked)
    label(feedback, [ids[place] for place in asked.index[asked["age"] > 40]])
    looks = [warned(folder, feedback) for _ in range(2)]
    assert "input.age" in looks[0][0]
    assert looks[0] == looks[1]
    assert sum(read[: len(read) // 2]) < 2_200, "400 of the first segment, and ever fewer of the next ones"


def test_the_sample_is_drawn_evenly_whatever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "MOST", 100)
    lots = np.random.default_rng(0).integers(1, 2**63, 5_000).astype(np.uint64)
    wanted = set(np.argsort(lots)[:100].tolist())
    for order in (np.arange(5_000), np.arange(5_000)[::-1]):
        drawn = Drawn()
        for part in np.array_split(order, 17):
            places = part[drawn.wanted(lots[part])]
            drawn.add(lots[places], pd.DataFrame({"place": places}))
        assert len(drawn) == 100
        assert set(drawn.rows()["place"]) == wanted


def test_inputs_that_cannot_be_read_hide_no_metrics(
    folder: Path, feedback: Feedback, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(feedback, ask(folder, people(100))[::2])
    whole = parquet.Reader.frame

    def frame(reader: Any, file: Path, described: Any, *rest: Any, **how: Any) -> pd.DataFrame:
        if any(item["name"] == "input.age" for item in described):
            raise UnsupportedData(str(file), "cannot be read", "look")
        return whole(reader, file, described, *rest, **how)

    monkeypatch.setattr(parquet.Reader, "frame", frame)
    found = live(Predictions(folder), feedback, "classification", baselines={"1.0.0": Baseline("1.0.0", BINS)})
    assert (found.rows, found.labelled) == (100, 50)
    [said] = found.warnings
    assert said.startswith("Whether the labelled rows are like the rest cannot be said: ")
    assert len(Log(feedback.frame()).columns) < 10


def test_a_segment_that_retention_takes_meanwhile_hides_no_metrics(
    folder: Path, feedback: Feedback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that could not be copied, for a copy that is open stays."""

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def rows(piece: Piece, *given: Any) -> pd.DataFrame:
        piece.path.unlink(missing_ok=True)
        return whole(piece, *given)

    whole = Piece.rows
    monkeypatch.setattr(copies, "_copy", full)
    monkeypatch.setattr(Piece, "rows", rows)
    label(feedback, ask(folder, people(100))[::2])
    found = live(Predictions(folder), feedback, "classification", baselines={"1.0.0": Baseline("1.0.0", BINS)})
    assert (found.rows, found.labelled) == (100, 50)
    [said] = found.warnings
    assert said.endswith(" has 0 of 100 lines that it had; look again.")


def test_a_column_that_is_dropped_by_now_is_not_compared(folder: Path, feedback: Feedback) -> None:
    """Labels come late, and so for rows of the time when it was kept."""
    label(feedback, ask(folder, people(600)))
    ask(folder, people(600, 1).assign(island=None), ids="n")
    whole, dropped = Baseline("1.0.0", BINS), Baseline("1.0.0", BINS, policy={"island": "drop"})
    told = [live(Predictions(folder), feedback, "classification", baselines={"1.0.0": own}) for own in (whole, dropped)]
    assert ["input.island" in str(found.warnings) for found in told] == [True, False]


def test_rows_that_are_lists_are_compared_value_by_value(folder: Path, feedback: Feedback) -> None:
    """Texts beside whole numbers, and what no model of ours would be given: rows of different lengths."""
    random = np.random.default_rng(0)
    rows: list[list[Any]] = [[random.choice(["a", "b"]), int(sign)] for sign in random.choice([5, 6], 1_000)]
    schema = Schema("array", dtype="object", shape=(2,))
    bins = Profile.from_dict(profile(np.array(rows, dtype=object), schema, predictions=[0, 1] * 500))
    baselines = {"1.0.0": Baseline("1.0.0", bins, container="array")}
    write(folder, *({"request_id": f"r{at}", "rows": [row], "predictions": [at % 2]} for at, row in enumerate(rows)))
    label(feedback, [f"r{at}" for at, row in enumerate(rows) if row[1] == 6][:300])
    found = live(Predictions(folder), feedback, "classification", baselines=baselines)
    [said] = found.warnings
    assert "input.1: every value is 6" in said
    write(folder, *({"request_id": f"s{at}", "rows": [["a"] * (at % 3)], "predictions": [1]} for at in range(300)))
    label(feedback, [f"s{at}" for at in range(0, 300, 2)])
    assert live(Predictions(folder), feedback, "classification", baselines=baselines).labelled == 450
