"""Labels of a table or a file: kept in the type they came, joined to their rows, and told."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from livemetrics import live
from toy import manifest

from nbdeploy import labelling, turns
from nbdeploy.errors import NotFound, UnsupportedData, WrongUse
from nbdeploy.labelling import Labelled
from nbdeploy.render import plain
from nbdeploy.run import secret
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.manifest import Column, Method, Output, Schema
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head, line

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.runtime.manifest import Manifest

pytestmark = pytest.mark.slow
SCHEMA = Schema("frame", (Column("x", "number", "float64"),), library="pandas", keys=("customer",))


def of(*classes: Any, task: str = "classification") -> Manifest:
    methods = [Method("predict", Output("array", "object"))]
    if classes:
        methods.append(Method("predict_proba", Output("array", "float64", (len(classes),), labels=classes)))
    made = manifest(*methods, schema=SCHEMA)
    made.model["task"] = task
    return made


@dataclass
class World:
    """A log of requests, without a service."""

    folder: Path
    manifest: Manifest = field(default_factory=lambda: of("no", "yes"))

    def log(self, *requests: tuple[str, list[Any]], keys: list[Any] | None = None, **more: Any) -> None:
        """Requests by id with their predictions; a key for each of the rows of all."""
        left = list(keys or [])
        lines = []
        for place, (name, predictions) in enumerate(requests):
            record: dict[str, Any] = {
                "time": 1.7e9 + place, "request_id": name, "milliseconds": 1.0, "version": "1.0.0", "schema": "s",
                "method": "predict", "status": 200, "rows": [{"x": 1.0}] * len(predictions), "predictions": predictions,
            }  # fmt: skip
            if keys:
                record["keys"] = [{"customer": left.pop(0)} for _ in predictions]
            lines.append(line(json.dumps(record | more).encode()))
        (self.folder / "predictions").mkdir(exist_ok=True)
        place = len(list((self.folder / "predictions").iterdir()))
        (self.folder / "predictions" / f"{place:016d}-1.log").write_bytes(b"".join(lines))

    def take(self, labels: Any, on: str = "request_id") -> Any:
        return Labelled("toy", self.folder, lambda: iter([self.manifest])).take(labels, on)

    @property
    def kept(self) -> list[tuple[Any, ...]]:
        frame = Feedback(self.folder / "feedback").frame()
        return list(frame[["id", "row", "label"]].itertuples(index=False, name=None))

    def accuracy(self) -> Any:
        found = live(
            Predictions(self.folder / "predictions"),
            Feedback(self.folder / "feedback"),
            "classification",
            classes=self.manifest.methods[-1].output.labels or (),
        )
        return found.versions[0].metrics["accuracy"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_becomes_of_each_label_is_told(world: World) -> None:
    world.log(("a", ["no", "yes"]), ("b", ["yes"]), ("c", ["no"]))
    told = world.take(pd.DataFrame({"request_id": ["a", "a", "b"], "row": [0, 1, 0], "label": ["no", "no", None]}))
    assert (told.given, told.matched, told.empty, told.labelled, told.rows, told.coverage) == (3, 2, 1, 2, 4, 0.5)
    assert told.warnings == ()
    again = world.take(
        pd.DataFrame(
            {
                "request_id": ["a", "a", "b", "nobody", "c", "a"],
                "row": [0, 1, 0, 0, 7, None],
                "label": ["no", "yes", "yes", "yes", "yes", "no"],
            }
        )
    )
    counted = again.to_dict()
    assert {name: counted[name] for name in ("given", "kept", "matched", "repeated", "corrections")} == {
        "given": 6, "kept": 5, "matched": 3, "repeated": 1, "corrections": 1,
    }  # fmt: skip
    assert (again.unknown, again.surplus, again.unplaced, again.labelled) == (1, 1, 1, 3)
    text = plain.card(again.card())
    for said in (
        "3 of 4 rows have a label (75 %)",
        "1 label is of no request in the log. It is kept, and counts for nothing.",
        "does not have",
        'add a column "row"',
    ):
        assert said in text
    assert len(counted["warnings"]) == 3


def test_a_table_that_comes_twice_is_kept_once(world: World) -> None:
    world.log(("a", ["no"]), ("b", ["yes"]))
    table = pd.DataFrame({"request_id": ["a", "b", "x"], "label": ["no", "no", "no"]})
    assert [world.take(table).kept for _ in range(3)] == [3, 0, 0]
    assert len(world.kept) == 3
    corrected = table.assign(label=["no", "yes", "no"])
    assert [world.take(part).kept for part in (corrected, table, table)] == [1, 1, 0]
    assert world.kept[-1] == ("b", None, "no")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([1, 0]), [1, 0]),
        (np.array([1.0, np.nan]), [1.0, None]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (np.array([True, False]), [True, False]),
        (pd.Categorical(["yes", None], categories=["no", "yes"]), ["yes", None]),
        (pd.Categorical([2, 1]), [2, 1]),
        (pd.array(["a", None], dtype="string"), ["a", None]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([1, "b"], dtype=object), [1, "b"]),
        ([np.int8(3), np.str_("x")], [3, "x"]),
        ([np.bool_(True), pd.NA], [True, None]),
        (pd.to_datetime(["2026-01-01", ""]), ["2026-01-01T00:00:00", None]),
    ],
)
def test_labels_of_every_dtype_are_kept_as_json_has_them(world: World, labels: Any, expected: list[Any]) -> None:
    world.manifest = of()
    world.log(("a", ["no"]), ("b", ["yes"]))
    world.take(pd.DataFrame({"request_id": ["a", "b"], "label": labels}, index=[7, 7]))
    found = [label for _, _, label in world.kept]
    assert found == [label for label in expected if label is not None]
    assert [type(label) for label in found] == [type(label) for label in expected if label is not None]


@pytest.mark.parametrize(
    "table",
    [
        {"request_id": ["a", "b"], "label": ["no", "yes"]},
        [{"request_id": "a", "label": "no"}, {"request_id": "b", "label": "yes"}],
        pl.DataFrame({"request_id": ["a", "b"], "outcome": ["no", "yes"]}),
        pd.Series(["no", "yes"], index=pd.Index(["a", "b"], name="request_id")),
        pd.DataFrame({"churned": ["no", "yes"]}, index=pd.Index(["a", "b"], name="request_id")),
        pd.DataFrame({"request_id": pd.Categorical(["a", "b"]), "label": pd.Categorical(["no", "yes"])}),
    ],
)
def test_a_table_may_be_of_any_kind(world: World, table: Any) -> None:
    world.log(("a", ["no"]), ("b", ["yes"]))
    assert world.take(table).matched == 2
    assert world.accuracy().value == 1


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"id": ["a"], "label": ["no"]},
            r'a column "request_id" and one called "label"; this table has id, label\. A key .* with --on: customer\.$',
        ),
        (
            {"id": ["a"], "customer": [7], "label": ["no"]},
            r"has id, customer, label\. The log has a key customer: feedback NAME labels --on customer\.$",
        ),
        ({"request_id": ["a"], "x": [1], "y": [2]}, r"has request_id, x, y\. Name the one.*rename\(columns="),
        ({"request_id": ["a"]}, "this table has request_id"),
        (pd.DataFrame([["a", "b", "c"]], columns=["request_id", "label", "label"]), "request_id, label, label"),
        (pd.DataFrame(), "no columns"),
        ({"request_id": ["a"], "label": [["no"]]}, 'column "label" holds lists'),
        ({"request_id": ["a"], "label": [object()]}, "holds what is no label: the type object has no JSON form"),
        ({"request_id": ["a"], "label": ["no"], "row": [-1]}, "counted from 0"),
        ({"request_id": ["a"], "label": ["no"], "row": [0.5]}, "counted from 0"),
        ({"request_id": ["a"], "label": ["no"], "row": ["first"]}, "counted from 0"),
        ({"request": ["a"], "label": ["no"]}, r'has request, label\. Did you mean "request"\?'),
        (["no", "yes"], 'A list is no table of labels; give a frame with the columns "request_id"'),
        ({"request_id": ["a", "b"], "label": ["no"]}, "are no table"),
        (7, "An int is no table"),
    ],
)
def test_what_is_no_table_of_labels_is_wrong_use(world: World, table: Any, said: str) -> None:
    world.log(("a", ["no"]))
    with pytest.raises(WrongUse, match=said):
        world.take(pd.DataFrame(table) if isinstance(table, dict) and "b" not in next(iter(table.values())) else table)
    assert world.kept == []


@pytest.mark.parametrize("word", ["bucket", "drop", None])
def test_only_keys_that_labels_can_go_by_are_suggested(world: World, word: str | None) -> None:
    columns = {} if word is None else {"customer": word}
    (world.folder / "predictions").mkdir()
    (world.folder / "predictions" / "0-1.log").write_bytes(head("s", Policy(columns), {"x": "number"}, ["customer"]))
    world.log(("a", ["no"]))
    if word is None:
        world.manifest = replace(world.manifest, schema=replace(SCHEMA, keys=()))
    with pytest.raises(WrongUse, match=r"this table has customer, label\.$"):
        world.take(pd.DataFrame({"customer": [7], "label": ["no"]}))


@pytest.mark.parametrize(
    ("columns", "on", "said"),
    [
        (["id", "outcome"], "customer", r"has id, outcome\.$"),
        (["outcome", "label"], "customer", r"has outcome, label\.$"),
        (["customer_outcome", "x"], "customer", r"has customer_outcome, x\.$"),
        (["label", "row"], "labels", r"has label, row\. A key .* with --on: customer\.$"),
        (["customer", "outcome"], "custmer", r'has customer, outcome\. Did you mean "customer"\?$'),
        (["Customer", "label"], "customer", r'has Customer, label\. Did you mean "Customer"\?$'),
    ],
)
def test_what_may_be_the_labels_is_not_suggested_to_go_by(world: World, columns: list[str], on: str, said: str) -> None:
    world.log(("a", ["no"]), keys=[7])
    with pytest.raises(WrongUse, match=said):
        world.take(pd.DataFrame({name: ["no"] for name in columns}), on)


def test_a_key_that_was_never_kept_is_wrong_use(world: World) -> None:
    with pytest.raises(WrongUse, match=r'no key "order".*has request_id, customer. `--keys order` at deploy'):
        world.take(pd.DataFrame({"order": [1], "label": ["no"]}), "order")


@pytest.mark.parametrize(
    ("logged", "given", "matched"),
    [
        (["007", "7"], ["007"], 1),  # as texts, each is itself
        (["007", "7"], ["7"], 1),
        (["007", "7"], [7], 1),
        (["007"], [7], 0),
        ([7, 8], ["007", "8.0"], 2),  # as numbers, texts of a file are read
        ([7, 8], [7.0, np.nan], 1),
        ([2**60 + 1, 8], [2**60 + 1], 1),
        ([2**60 + 1], [str(2**60)], 0),
        ([1.5], ["1.50"], 1),
        ([True], ["True"], 1),
        (["1e3"], [1000], 0),
        (["NA", None], ["NA"], 1),
        (["k", None], ["k", None], 1),  # nothing is no key
    ],
)
def test_keys_are_compared_as_they_were_logged(world: World, logged: list[Any], given: list[Any], matched: int) -> None:
    world.log(("a", ["no"] * len(logged)), keys=logged)
    told = world.take(pd.DataFrame({"customer": given, "label": ["no"] * len(given)}), "customer")
    assert (told.matched, told.unknown) == (matched, len(given) - matched)
    assert bool(told.warnings) == (logged in (["007"], ["1e3"])), "numbers where the log has texts: told"


def test_moments_are_keys(world: World) -> None:
    moments = pd.to_datetime(["2026-01-01 10:00", "2026-01-02 11:30:00.5"], format="ISO8601")
    world.log(("a", ["no", "no"]), keys=["2026-01-01T10:00:00", "2026-01-02T11:30:00.5"])
    assert world.take(pd.DataFrame({"customer": moments, "label": ["no", "no"]}), "customer").matched == 2


def test_rows_with_a_key_in_common_share_its_label_and_that_is_told(world: World) -> None:
    world.log(("a", ["no", "yes"]), ("b", ["no"]), keys=["k", "l", "k"])
    told = world.take(pd.DataFrame({"customer": ["k"], "label": ["no"]}), "customer")
    assert (told.matched, told.shared) == (2, 2)
    assert "2 rows have their customer in common" in str(told)


def test_the_later_one_of_a_label_by_key_and_one_by_request_counts(world: World) -> None:
    world.log(("a", ["no"]), keys=["k"])
    by_key = pd.DataFrame({"customer": ["k"], "label": ["yes"]})
    by_request = pd.DataFrame({"request_id": ["a"], "label": ["no"]})
    world.take(by_key, "customer")
    assert world.accuracy().value == 0
    world.take(by_request)
    assert world.accuracy().value == 1
    world.take(by_key, "customer")
    assert world.accuracy().value == 0, "the same label by the same key, and news all the same"
    assert world.take(by_key, "customer").kept == 0, "now it is not"


def test_a_nightly_file_is_kept_once_also_beside_labels_of_requests(world: World) -> None:
    world.manifest = of(0, 1)
    world.log(("a", [1, 0]), ("b", [1]), keys=["k", "l", "m"])
    nightly = pd.DataFrame({"customer": ["k", "l", "m", "none"], "label": [1, 0, 1, 0]})
    single = pd.DataFrame({"request_id": ["a"], "row": [0], "label": [1]})
    assert [world.take(nightly, "customer").kept, world.take(single).kept, world.take(nightly, "customer").kept] == [
        4,
        1,
        0,
    ]
    assert world.take(single.assign(label=[True])).kept == 1, "of another type it is another one"
    assert world.take(nightly, "customer").kept == 1
    later = nightly.assign(label=pd.array([1, 0, None, 1], dtype="Int64"))
    assert world.take(later, "customer").kept == 1
    assert world.take(later.astype({"label": float}), "customer").kept == 0, (
        "as pandas has integers beside missing ones"
    )


def test_what_two_give_at_once_is_kept_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one asks while the first has read what was there, and not yet written."""
    world.log(("a", ["no", "yes"]))
    labels = {"request_id": ["a", "a"], "row": [0, 1], "label": ["no", "no"]}
    asked, told = threading.Event(), []
    second = threading.Thread(target=lambda: told.append(world.take(labels)))
    read, lock = Feedback.frame, turns._lock

    def reading(self: Feedback) -> pd.DataFrame:
        found = read(self)
        if threading.current_thread() is second:
            asked.set()
        elif second.ident is None:
            asked.clear()
            second.start()
            assert asked.wait(60)
        return found

    def locking(*args: Any) -> None:
        asked.set()
        lock(*args)

    monkeypatch.setattr(turns, "_lock", locking)
    monkeypatch.setattr(Feedback, "frame", reading)
    told.append(world.take(labels))
    second.join(60)
    assert sorted(one.kept for one in told) == [0, 2]
    assert len(world.kept) == 2


def test_f40_a_correction_counts_also_where_the_clock_was_set_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.log(("a", ["yes"]))
    world.take({"request_id": ["a"], "label": ["no"]})
    monkeypatch.setattr("nbdeploy.run.feedback._clock", SimpleNamespace(now=lambda: 1_000.0))
    assert world.take({"request_id": ["a"], "label": ["yes"]}).corrections == 1
    assert world.accuracy().value == 1.0


def test_keys_that_the_log_hashes_are_hashed_with_the_labels(world: World) -> None:
    secret.ensure(world.folder)
    hasher = secret.hasher(world.folder)
    world.log(("a", ["no", "yes"]), keys=[hasher("007"), hasher("008")])
    told = world.take(pd.DataFrame({"customer": ["007", "zoe"], "label": ["no", "no"]}), "customer")
    assert (told.matched, told.unknown) == (1, 1)
    assert [name for name, _, _ in world.kept] == [hasher("007"), hasher("zoe")]
    world.log(("b", ["no"]), keys=["plain"])  # of the time before the policy
    assert world.take(pd.DataFrame({"customer": ["plain"], "label": ["no"]}), "customer").matched == 1
    assert world.accuracy().value == 1


@pytest.mark.parametrize("kind", [str, int], ids=["texts", "numbers"])
def test_a_key_that_is_logged_in_plain_and_hashed_gives_its_label_to_all_of_its_rows(world: World, kind: type) -> None:
    secret.ensure(world.folder)
    hasher = secret.hasher(world.folder)
    one, two, none = (kind(key) for key in "123")
    world.log(("a", ["no", "no", "yes"]), keys=[one, two, one])
    given = pd.DataFrame({"customer": [one], "label": ["yes"]})
    assert world.take(given, "customer").matched == 2
    world.log(("b", ["no", "yes"]), keys=[hasher(one), hasher(two)])  # the policy has changed
    labels: list[str | None] = ["no", "yes", "no"]
    table = pd.DataFrame({"customer": [one, two, none], "label": labels})
    told = world.take(table, "customer")
    assert (told.given, told.kept, told.matched, told.labelled, told.shared) == (3, 3, 5, 5, 5)
    assert (told.unknown, told.repeated, told.corrections, told.earlier_unknown) == (1, 0, 1, 0)
    assert {name for name, _, _ in world.kept[1:]} == {"1", hasher("1"), "2", hasher("2"), hasher("3")}
    assert world.accuracy().value == 0.6
    labels = ["no", "no", None]
    again = world.take(table.assign(label=pd.Series(labels, dtype=object)), "customer")
    assert (again.given, again.kept, again.empty, again.matched, again.labelled) == (3, 1, 1, 5, 5)
    assert (again.repeated, again.corrections, again.unknown) == (1, 1, 0)
    assert world.take(table.assign(label=pd.Series(labels, dtype=object)), "customer").kept == 0


def test_a_label_of_a_file_goes_by_the_number_that_was_logged_in_plain(world: World) -> None:
    secret.ensure(world.folder)
    hasher = secret.hasher(world.folder)
    world.log(("a", ["no", "no"]), ("b", ["no"]), keys=[7, 8, 9])
    world.log(("c", ["no"]), keys=[hasher(8)])
    told = world.take(pd.DataFrame({"customer": ["007", "8"], "label": ["no", "no"]}), "customer")
    assert (told.matched, told.unknown, told.labelled) == (3, 0, 3)


def test_requests_whose_rows_the_policy_did_not_keep_are_told_apart(world: World) -> None:
    world.log(("a", ["no"]))
    world.log(("b", []), rows=[], predictions=[], count=1)
    told = world.take(pd.DataFrame({"request_id": ["a", "b", "c"], "label": ["no"] * 3}))
    assert (told.matched, told.unkept, told.unknown) == (1, 1, 1)


def test_labels_of_requests_without_rows_say_why_and_not_that_the_log_lacks_them(world: World) -> None:
    world.log(("a", ["no"]))
    world.log(("b", []), rows=[], predictions=[], status=422, code="invalid_rows")
    world.log(("c", []), rows=[], predictions=[])
    log = Predictions(world.folder / "predictions").frame()
    told = world.take(log[["request_id", "row"]].assign(label="no"))
    assert (told.matched, told.refused, told.rowless, told.unkept, told.unknown) == (1, 1, 1, 0, 0)
    said = str(told)
    assert "1 label is of a request that was refused or failed" in said
    assert "1 label is of a request that had no rows" in said
    assert "in the log" not in said


@pytest.mark.parametrize(
    "label",
    [10**400, 10**5000, float("inf"), "inf", "-Infinity"],
    ids=["whole", "beyond what is written", "inf", "text", "-inf"],
)
def test_a_label_of_a_regression_is_a_number_that_a_float_can_be(world: World, label: Any) -> None:
    world.manifest = of(task="regression")
    world.log(("a", [1.5, 2.5]))
    table = {"request_id": ["a", "a"], "row": [0, 1], "label": [1.5, label]}
    with pytest.raises(WrongUse, match=r"1 label is no number: .{3,99} in row 1 \(from 0\)"):  # and not all its digits
        world.take(pd.DataFrame(table, dtype=object))


@pytest.mark.parametrize("row", [2**70, 1e300])
def test_a_row_beyond_all_requests_is_refused(world: World, row: float) -> None:
    world.log(("a", ["yes", "no"]))
    table = {"request_id": ["a", "a"], "row": [0, row], "label": ["yes", "no"]}
    with pytest.raises(WrongUse, match=r"no place in a request: row 1 \(from 0\)"):
        world.take(pd.DataFrame(table, dtype=object))


def test_labels_of_a_regression_are_numbers(world: World) -> None:
    world.manifest = of(task="regression")
    world.log(("a", [1.5, 2.5]))
    table = {"request_id": ["a", "a"], "row": [0, 1], "label": ["1.5", "many"]}
    with pytest.raises(WrongUse, match=r"1 label is no number: 'many' in row 1 \(from 0\)\. Nothing was taken"):
        world.take(pd.DataFrame(table))
    world.take(pd.DataFrame(table | {"label": ["1.5", None]}))
    assert world.kept == [("a", 0, 1.5)]
    with pytest.raises(WrongUse, match="is no number: True in row 0"):
        world.take(pd.DataFrame(table | {"label": [True, 1.0]}))


def test_labels_the_model_does_not_know_are_told(world: World) -> None:
    world.manifest = of(0, 1)
    world.log(("a", [1]), ("b", [0]))
    told = world.take(pd.DataFrame({"request_id": ["a", "b"], "label": ["1.0", "yes"]}))
    (warning,) = told.warnings
    assert warning.startswith("1 label is none of the model's classes (yes); it answers 0, 1. They count as")
    assert world.accuracy().value == 0.5


def test_a_new_class_that_is_nearly_one_of_the_models_is_asked_about(world: World) -> None:
    world.manifest = of("barolo", "grignolino")
    world.log(("a", ["barolo"]), ("b", ["barolo"]))
    told = world.take(pd.DataFrame({"request_id": ["a", "b"], "label": ["Barolo", "barolo"]}))
    assert 'classes (Barolo: did you mean "barolo"?); it answers barolo, grignolino.' in told.warnings[0]


def test_labels_in_another_coding_than_the_models_are_refused_whole(world: World) -> None:
    world.log(("a", ["no"]), ("b", ["yes"]), keys=["k", "l"])
    world.take(pd.DataFrame({"customer": ["k", "l"], "label": ["no", "yes"]}), "customer")
    before = world.kept
    with pytest.raises(WrongUse, match=r"it answers no, yes, and these are 0, 1\. Nothing was taken: write"):
        world.take(pd.DataFrame({"customer": ["k", "l"], "label": [0, 1]}), "customer")
    assert world.kept == before
    assert world.accuracy().value == 1
    world.take(pd.DataFrame({"customer": ["k"], "label": [None]}), "customer")


def test_a_coding_of_an_earlier_version_is_taken(world: World) -> None:
    world.log(("a", [1]))
    versions = [of("no", "yes"), of(0, 1)]
    told = Labelled("toy", world.folder, lambda: iter(versions)).take({"request_id": ["a"], "label": [1]})
    assert told.matched == 1


def test_corrections_are_of_rows_that_are_in_the_log(world: World) -> None:
    world.log(("a", ["no"]))
    world.take({"request_id": ["a", "elsewhere"], "label": ["no", "no"]})
    told = world.take({"request_id": ["a", "elsewhere"], "label": ["yes", "yes"]})
    assert (told.kept, told.matched, told.corrections) == (2, 1, 1)


def test_labels_that_came_for_nothing_are_counted_at_the_next_ones(world: World) -> None:
    world.log(("a", ["no"]), ("b", ["yes"]))
    sent = [("request_id", "nobody", 0, "no"), ("request_id", "a", 3, "no")]  # as over HTTP
    Feedback(world.folder / "feedback").add(pd.DataFrame(sent, columns=["on", "id", "row", "label"], dtype=object))
    told = world.take({"request_id": ["b", "else"], "label": ["yes", "yes"]})
    assert (told.unknown, told.earlier_unknown, told.surplus, told.earlier_surplus) == (1, 1, 0, 1)
    assert "Of labels that came before, 1 label is of no request in the log." in str(told)


# files


CSV = "request_id,row,label\na,0,no\na,1,None\nb,0,\nb,0,yes\n"


def test_a_csv_file_is_read_as_texts(world: World, tmp_path: Path) -> None:
    world.log(("a", ["no", "yes"]), ("b", ["yes"]))
    path = tmp_path / "labels.csv"
    path.write_text("\ufeff" + CSV, encoding="utf-8")
    told = world.take(path)
    assert (told.given, told.matched, told.empty) == (4, 2, 2)
    assert world.kept == [("a", 0, "no"), ("b", 0, "yes")]
    world.manifest = of("None", "no", "yes")
    assert world.take(str(path)).empty == 1, "None is a label of this model"


def test_ids_with_zeros_in_front_stay_what_they_are_in_a_file(world: World, tmp_path: Path) -> None:
    world.manifest = of(0, 1)
    world.log(("a", [1, 0, 1]), keys=["007", "7", "0123"])
    (tmp_path / "labels.tsv").write_text("customer\toutcome\n007\t1\n0123\t1.0\n7\ttrue\n")
    told = world.take(tmp_path / "labels.tsv", "customer")
    assert (told.matched, told.warnings) == (3, ())
    assert world.accuracy().value == pytest.approx(2 / 3)


def test_parquet_and_json_have_types(world: World, tmp_path: Path) -> None:
    import duckdb

    world.manifest = of(False, True)
    world.log(("a", [True]), ("b", [False]))
    duckdb.sql("SELECT * FROM (VALUES ('a', true), ('b', NULL)) AS t(request_id, label)").write_parquet(
        str(tmp_path / "labels.parquet")
    )
    assert world.take(tmp_path / "labels.parquet").matched == 1
    (tmp_path / "labels.jsonl").write_text(
        '{"request_id": "b", "label": false}\n\n{"request_id": "a", "label": null}\n'
    )
    assert world.take(tmp_path / "labels.jsonl").labelled == 2
    (tmp_path / "labels.json").write_text('[{"request_id": "a", "label": true}]')
    assert world.take(tmp_path / "labels.json").kept == 0
    assert world.accuracy().value == 1


LONG = 2**62 + 1  # a float would round it


def test_long_ids_beside_a_missing_one_stay_exact_in_every_kind_of_table(world: World, tmp_path: Path) -> None:
    import duckdb

    world.log(("a", ["no", "yes"]), keys=[LONG, LONG + 1])
    rows = [{"customer": LONG, "label": "no"}, {"customer": None, "label": None}]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    sql = f"SELECT * FROM (VALUES ({LONG}::BIGINT, 'no'), (NULL, NULL)) AS t(customer, label)"
    duckdb.sql(sql).write_parquet(str(tmp_path / "labels.parquet"))
    for table in (rows, pl.DataFrame(rows), tmp_path / "labels.json", tmp_path / "labels.parquet"):
        told = world.take(table, "customer")
        assert (told.matched, told.unknown, told.shared) == (1, 0, 0), table


def test_lines_with_more_cells_than_names_are_refused(world: World, tmp_path: Path) -> None:
    """The first cell would be taken for an index, and the id for a label."""
    world.log(("a", ["no"]))
    (tmp_path / "labels.csv").write_text("request_id,label\na,no,\n")
    with pytest.raises(UnsupportedData, match=r"more cells than its first line names \(request_id, label\)"):
        world.take(tmp_path / "labels.csv")


def test_a_file_that_is_separated_otherwise_is_told_by_what(world: World, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("customer;label\nk;no\n")
    with pytest.raises(UnsupportedData, match=r"is separated by ;, expected ,; read it yourself: .*sep=';'"):
        world.take(tmp_path / "labels.csv", "customer")


def test_a_cell_that_is_no_number_is_told_by_its_line(world: World, tmp_path: Path) -> None:
    world.manifest = of(task="regression")
    world.log(("a", [1.5, 2.5]))
    (tmp_path / "labels.csv").write_text("request_id,row,label\na,0,1.5\na,1,n0\n")
    with pytest.raises(WrongUse, match=r"'n0' in line 3\. Nothing was taken"):
        world.take(tmp_path / "labels.csv")
    assert world.kept == []


def test_ids_that_lost_their_zeros_are_told_which_one_is_there(world: World) -> None:
    world.log(("a", ["no", "yes"]), keys=["00300", "17"])
    told = world.take({"customer": ["300", "17"], "label": ["no", "yes"]}, "customer")
    assert told.matched == 1
    assert told.warnings[0].startswith('"00300" is in the log, with zeros in front: read the key as text')


def test_a_file_that_cannot_be_read_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file of labels"):
        world.take(tmp_path / "absent.csv")
    (tmp_path / "labels.xls").write_text("")
    with pytest.raises(UnsupportedData, match=r"is no table this reads; give a file ending in \.csv"):
        world.take(tmp_path / "labels.xls")
    for name, content in {"bad.json": b"{", "bad.csv": b"", "latin.csv": b"request_id,label\na,\xe9\n"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnsupportedData, match=r"cannot be read.*mend the file"):
            world.take(tmp_path / name)


def test_labels_that_are_kept_are_told_so_where_old_ones_cannot_be_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(labelling, "clean", failing)
    world.log(("a", ["no"]))
    told = world.take({"request_id": ["a"], "label": ["no"]})
    assert (told.kept, len(world.kept)) == (1, 1)
    (warning,) = told.warnings
    assert "These labels are kept, but" in warning
    assert "Permission denied" in warning
