"""Publishing, numbering, going back and removing."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from keep_world import METHODS, World, manifest, stage

from nbdeploy.errors import (
    BadName,
    Corrupt,
    DowngradeRefused,
    NotFound,
    NothingToRollBackTo,
    Refused,
    RegistryUnavailable,
    StoreUnavailable,
    VersionIsLive,
)
from nbdeploy.keep.diff import Diff
from nbdeploy.keep.history import rollback_target
from nbdeploy.keep.recover import recover
from nbdeploy.keep.registry import Books
from nbdeploy.keep.staging import link
from nbdeploy.keep.store import details, failing, intact, manifest_of, publish, remove
from nbdeploy.runtime.manifest import Column, Schema, altered

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def test_the_first_version_is_one_and_live(world: World) -> None:
    made = world.publish(by="ada")
    assert made.to_dict() | {"created": "", "digest": ""} == {
        "name": "penguins",
        "version": "1.0.0",
        "live": True,
        "serving": False,
        "state": "ok",
        "created": "",
        "digest": "",
        "bump": "initial",
        "reason": "first version",
        "gate": "none",
        "by": "ada",
    }
    assert altered(made.src, manifest_of(made)) == []
    assert (made.bundle.parent / "latest").read_text() == "1.0.0"
    assert world.staged() == []


def test_a_version_is_the_users_alone_though_the_store_is_not(world: World) -> None:
    made = world.publish()
    assert stat.S_IMODE(made.bundle.stat().st_mode) == 0o700


def test_the_staged_bundle_stays_where_it_is(world: World) -> None:
    made = world.publish()
    staged = world.folder / "1" / "src" / "model.pkl"
    assert staged.read_bytes() == (made.src / "model.pkl").read_bytes()
    assert staged.stat().st_ino == (made.src / "model.pkl").stat().st_ino


def test_a_copy_is_made_where_a_file_cannot_have_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"x")
    link(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == b"x"


def test_numbers_follow_what_callers_notice(world: World) -> None:
    world.publish()
    assert world.publish().version == "1.0.1"
    assert world.publish(manifest(methods=(*METHODS, replace(METHODS[1], name="decision_function")))).version == "1.1.0"
    assert world.publish().version == "2.0.0"
    assert world.publish(bump="minor").version == "2.1.0"
    assert world.publish(live=False).version == "2.1.1"
    assert world.live() == "2.1.0"
    assert world.publish().version == "2.1.2"


def test_after_a_rollback_numbers_are_counted_from_the_live_version(world: World) -> None:
    for _ in range(3):
        world.publish()
    world.registry.make_live("penguins", "1.0.0", kind="rolled back")
    assert world.publish().version == "1.0.3"


def test_a_bump_below_what_the_change_needs_is_refused_or_recorded(world: World) -> None:
    world.publish()
    fewer = manifest(methods=METHODS[:1])
    with pytest.raises(DowngradeRefused, match="predict_proba is no longer served"):
        world.publish(fewer, bump="patch")
    assert world.folders() == ["1.0.0"]
    assert world.staged() == []
    assert world.publish(fewer, bump="patch", force=True).version == "1.0.1"
    assert [event.detail["asked"] for event in world.registry.events("penguins") if event.kind == "bump forced"] == [
        "patch"
    ]
    assert world.publish(manifest()).bump == "minor"


def test_only_listed_files_are_published(world: World) -> None:
    made = stage(world.folder / "x")
    (world.folder / "x" / "src" / "captured" / "__pycache__").mkdir()
    (world.folder / "x" / "src" / "captured" / "__pycache__" / "notebook_code.pyc").write_bytes(b"planted")
    (world.folder / "x" / "src" / "sitecustomize.py").write_bytes(b"planted")
    version = publish(world.folder / "x", made, world.registry, world.settings.bentoml_home)
    assert {path.name for path in version.src.rglob("*")} == {
        "captured",
        "golden.json",
        "manifest.json",
        "model.pkl",
        "nbdeploy_runtime",
        "notebook_code.py",
        "__init__.py",
        "service.py",
    }


@pytest.mark.parametrize("harm", ["changed", "missing", "link", "manifest"])
def test_a_staged_bundle_that_was_touched_is_not_published(world: World, harm: str) -> None:
    made = stage(world.folder / "x")
    model = world.folder / "x" / "src" / "model.pkl"
    if harm == "manifest":
        made = replace(made, title="other", files={**made.files, "golden.json": made.files["model.pkl"]})
        (world.folder / "x" / "src" / "manifest.json").write_bytes(made.dumps())
    else:
        model.unlink()
        if harm == "changed":
            model.write_bytes(b"other")
        if harm == "link":
            model.symlink_to(world.folder / "x" / "src" / "golden.json")
    with pytest.raises(Corrupt, match="bundle the model again"):
        publish(world.folder / "x", made, world.registry, world.settings.bentoml_home)
    assert world.registry.names() == []
    assert world.folders() == []


@pytest.mark.parametrize("name", ["../../etc", "latest", "Penguins", "a/b", ""])
def test_a_name_cannot_lead_out_of_the_store(world: World, name: str) -> None:
    with pytest.raises(BadName):
        world.publish(manifest(name))


@pytest.mark.parametrize(
    "line", ["-e .", "--index-url http://evil", "x @ file:///etc", "./wheel.whl", "x==1\n--pre", "x==1 --hash=y z"]
)
def test_a_requirement_that_is_an_option_or_a_path_is_refused(world: World, line: str) -> None:
    like = manifest(environment={**manifest().environment, "requirements": [line]})
    with pytest.raises(Corrupt, match="not a pinned package"):
        world.publish(like)
    assert world.folders() == []


def test_bento_yaml_holds_the_text_of_a_model_as_text(world: World) -> None:
    evil = "x: &a [*a]\n--- !!python/object/apply:os.system ['touch /tmp/owned']"
    made = world.publish(manifest(title=evil), by=evil)
    raw = yaml.safe_load((made.bundle / "bento.yaml").read_bytes())
    assert raw["labels"]["nbdeploy.by"] == evil
    assert raw["image"]["commands"] == []
    assert raw["service"] == "nbdeploy_runtime.service:ModelService"


@pytest.mark.slow
def test_a_failing_disk_leaves_the_old_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    real = os.fsync
    for nth in range(1, 40):
        calls = iter(range(1, 1000))

        def full(handle: int, calls: Any = calls, nth: int = nth) -> None:
            if next(calls) == nth:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", full)
        before = len(world.registry.versions("penguins"))
        try:
            world.publish()
        except StoreUnavailable as exc:
            assert "No space left" in str(exc)  # noqa: PT017 - the last rounds do not raise
            assert len(world.registry.versions("penguins")) == before
        monkeypatch.setattr(os, "fsync", real)
        assert world.folders() == sorted(item.version for item in world.registry.versions("penguins"))
        assert world.staged() == []


def test_f23_what_fails_after_a_removal_was_recorded_does_not_say_that_nothing_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    world.publish()
    bentoml_home = world.settings.bentoml_home

    def full(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("nbdeploy.keep.staging.Store.discard", full)
        with pytest.raises(StoreUnavailable, match=r"removal is recorded, some files are left; .* `nbdeploy recover`"):
            remove(world.registry, bentoml_home, "penguins", "1.0.0")
    assert [item.version for item in world.registry.versions("penguins")] == ["1.0.1"]
    assert recover(world.registry, bentoml_home).cleaned == ["penguins:1.0.0"]
    with monkeypatch.context() as patch:
        patch.setattr("nbdeploy.keep.staging.Store.workplace", full)
        with pytest.raises(StoreUnavailable, match=r"Nothing was changed; .* then try again"):
            world.publish()


def test_f22_a_full_disk_is_named_by_what_was_to_be_written(world: World) -> None:
    source, target = "/home/me/.nbdeploy/bundles/x/model.pkl", "/data/bentoml/.nbdeploy/staging/x/model.pkl"
    for error, path in (
        (OSError(errno.ENOSPC, "No space left on device", source, None, target), target),
        (OSError(errno.ENOSPC, "No space left on device", target), target),
        (OSError(errno.ENOSPC, "No space left on device"), str(world.settings.bentoml_home)),
    ):
        with pytest.raises(StoreUnavailable) as caught, failing("publishing penguins", world.store):
            raise error
        assert caught.value.path == path


def test_a_commit_that_fails_takes_the_folder_out_of_the_store_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()

    def full(*_: Any, **__: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Books, "issue", full)
        with pytest.raises(RegistryUnavailable, match="make room"):
            world.publish()
    assert world.folders() == ["1.0.0"]
    assert world.publish().version == "1.0.1"


def test_a_bento_somebody_else_put_there_is_left_alone(world: World) -> None:
    world.publish()
    foreign = world.settings.bentoml_home / "bentos" / "penguins" / "1.0.1"
    foreign.mkdir()
    (foreign / "bento.yaml").write_text("name: penguins\nversion: 1.0.1\n")
    assert world.publish().version == "1.0.2"
    assert foreign.is_dir()


def test_rolling_back_goes_to_what_was_live_before_and_repeated_further(world: World) -> None:
    for _ in range(3):
        world.publish()
    for expected in ("1.0.1", "1.0.0"):
        target = rollback_target(world.registry, "penguins")
        assert target.version == expected
        world.registry.make_live("penguins", target.version, kind="rolled back")
    with pytest.raises(NothingToRollBackTo, match=r"penguins:1\.0\.0 is the first"):
        rollback_target(world.registry, "penguins")


def test_rolling_back_follows_what_was_live_and_not_the_numbers(world: World) -> None:
    for _ in range(3):
        world.publish()
    world.registry.make_live("penguins", "1.0.0")
    world.publish()
    assert world.live() == "1.0.3"
    assert rollback_target(world.registry, "penguins").version == "1.0.0"


def test_removed_versions_are_passed_over_when_rolling_back(world: World) -> None:
    for _ in range(3):
        world.publish()
    remove(world.registry, world.settings.bentoml_home, "penguins", "1.0.1")
    assert rollback_target(world.registry, "penguins").version == "1.0.0"


def test_a_version_that_was_only_published_is_no_target(world: World) -> None:
    world.publish()
    world.publish(live=False)
    with pytest.raises(NothingToRollBackTo):
        rollback_target(world.registry, "penguins")


def test_the_live_and_the_serving_version_cannot_be_removed(world: World) -> None:
    for _ in range(3):
        world.publish()
    home = world.settings.bentoml_home
    with pytest.raises(VersionIsLive, match=r"penguins:1\.0\.2 is live"):
        remove(world.registry, home, "penguins", "1.0.2")
    with pytest.raises(VersionIsLive):
        remove(world.registry, home, "penguins", "1.0.1", serving="1.0.1")
    with pytest.raises(NotFound):
        remove(world.registry, home, "penguins", "7.0.0")
    assert [item.version for item in remove(world.registry, home, "penguins", "1.0.0")] == ["1.0.0"]
    assert world.folders() == ["1.0.1", "1.0.2"]
    with pytest.raises(NotFound):
        world.registry.get("penguins", "1.0.0")


def test_a_removed_number_is_never_issued_again(world: World) -> None:
    world.publish()
    world.publish(live=False)
    remove(world.registry, world.settings.bentoml_home, "penguins", "1.0.1")
    assert world.publish().version == "1.0.2"


def test_a_whole_name_is_removed_unless_it_serves(world: World) -> None:
    world.publish()
    world.publish()
    with pytest.raises(Refused, match="stop penguins"):
        remove(world.registry, world.settings.bentoml_home, "penguins", serving="1.0.1")
    assert len(remove(world.registry, world.settings.bentoml_home, "penguins")) == 2
    assert world.live() is None
    assert world.folders() == []
    assert world.publish().version == "2.0.0"


def test_bentomls_pointer_follows_removals(world: World) -> None:
    for _ in range(11):
        world.publish()
    world.registry.make_live("penguins", "1.0.0")
    remove(world.registry, world.settings.bentoml_home, "penguins", "1.0.10")
    assert (world.settings.bentoml_home / "bentos" / "penguins" / "latest").read_text() == "1.0.9"


def test_the_same_digest_is_found_again(world: World) -> None:
    first = world.publish(model=b"one")
    world.publish(model=b"two")
    again = world.registry.find("penguins", first.digest)
    assert again is not None
    assert again.version == "1.0.0"
    assert world.registry.find("penguins", "sha256:none") is None


def test_details_show_everything_known(world: World) -> None:
    world.publish(gate="skipped", report="no data today")
    shown = details(world.registry, "penguins").to_dict()
    assert {"schema", "methods", "requirements", "metrics", "provenance", "report", "events"} <= set(shown)
    assert shown["report"] == "no data today"
    assert [event["kind"] for event in shown["events"]] == ["published", "gate skipped", "live"]
    assert "island" in str(details(world.registry, "penguins"))


def test_details_show_the_training_metrics_and_why_some_are_missing(world: World) -> None:
    world.publish()
    found = details(world.registry, "penguins")
    training = {"values": {"accuracy": 0.912345}, "not_computable": {"roc_auc": "one class"}}
    shown = str(replace(found, manifest=replace(found.manifest, metrics={"training": training})))
    assert re.search(r"accuracy +0\.9123\n", shown)
    assert re.search(r"roc_auc +not computable: one class", shown)
    none = {"values": {}, "not_computable": {"all": "no target was given"}}
    shown = str(replace(found, manifest=replace(found.manifest, metrics={"training": none})))
    assert re.search(r"none +not computable: no target was given", shown)
    assert "training metric" not in str(replace(found, manifest=replace(found.manifest, metrics={})))


def test_a_version_that_was_altered_is_corrupt_and_the_rest_works(world: World) -> None:
    bad, good = world.publish(), world.publish()
    (bad.src / "model.pkl").write_bytes(b"other")
    with pytest.raises(Corrupt, match=r"model\.pkl has changed"):
        intact(bad)
    intact(good)
    assert len(world.registry.versions("penguins")) == 2


def test_two_versions_are_compared_part_by_part(world: World) -> None:
    one = world.publish()
    newer = {**manifest().environment, "requirements": ["bentoml==1.4.39", "numpy==2.4.0"]}
    two = world.publish(manifest(environment=newer, metrics={"training": {"accuracy": 0.97}}, methods=METHODS[:1]))
    diff = Diff.between("penguins", (one.version, manifest_of(one)), (two.version, manifest_of(two)))
    raw = diff.to_dict()
    assert list(raw) == ["from", "to", "schema", "parameters", "requirements", "metrics", "code", "data"]
    assert raw["requirements"] == {"added": {"numpy": "2.4.0"}, "removed": {"scikit-learn": "1.9.0"}, "changed": {}}
    assert raw["metrics"]["changed"] == {"training.accuracy": {"from": 0.99, "to": 0.97}}
    assert list(raw["schema"]["removed"]) == ["predict_proba()"]
    assert "numpy" in str(diff)
    (answer,) = [row[2] for row in diff.card().tables[0].rows if row[1] == "predict_proba()"]
    assert answer.startswith("array float64")  # in words
    assert Diff.between("penguins", ("a", manifest()), ("b", manifest())).same


def test_long_values_are_compared_from_where_they_part() -> None:
    old, new = (
        manifest(provenance={"data": {"sha256": letter * 64, "columns": [f"column {n}" for n in range(count)]}})
        for letter, count in (("a", 9), ("b", 10))
    )
    rows = Diff.between("penguins", ("1.0.0", old), ("1.0.1", new)).card().tables[0].rows
    assert ("data", "sha256", "a" * 12, "b" * 12) in rows
    (columns,) = [row[2:] for row in rows if row[1] == "columns"]
    assert columns == ("...olumn 7', 'column 8']", "...olumn 7', 'column 8', 'column 9']")


def test_what_reads_the_same_on_both_sides_is_counted_and_not_shown() -> None:
    def trained(high: int, categories: tuple[str, ...], fold: float) -> Manifest:
        columns = (
            Column("age", "integer", "int64", low=18, high=high),
            Column("plan", "category", "str", categories=categories),
        )
        scores = {"accuracy": {"mean": 0.9, "std": fold, "folds": [fold, 0.9]}}
        return manifest(schema=Schema("frame", columns), metrics={"cross_validation": {"values": scores}})

    before, after = trained(90, ("a", "b"), 0.89), trained(91, ("a", "b", "c"), 0.91)
    card = Diff.between("penguins", ("1.0.0", before), ("1.0.1", after)).card()
    (row,) = card.tables[0].rows
    assert row == ("schema", "plan", "categories ('a', 'b')", "categories ('a', 'b', 'c')")
    assert "3 more differ in details" in card.notes[0][1]
    (only,) = Diff.between("penguins", ("1.0.0", before), ("1.0.1", trained(91, ("a", "b"), 0.89))).card().notes
    assert "1 more differs" in only[1]


@pytest.mark.parametrize(
    ("published", "judged", "shown"),
    [
        ("none", [], "none"),
        ("none", ["passed"], "passed"),
        ("none", ["passed", "refused"], "refused"),
        ("passed", ["refused"], "refused"),
        ("passed", ["refused", "passed"], "passed"),
        ("skipped", ["passed"], "skipped"),
        ("skipped", ["refused"], "refused"),
        ("skipped", ["refused", "passed"], "skipped"),
    ],
)
def test_a_later_judgement_is_shown_on_the_version(world: World, published: str, judged: list[str], shown: str) -> None:
    world.publish(gate=published, report="too slow today")
    for verdict in judged:
        world.registry.record("penguins", "validated", "1.0.0", report={"verdict": verdict, "html": "r.html"})
    assert world.registry.get("penguins").gate == shown
    assert [version.gate for version in world.registry.versions("penguins")] == [shown]
    found = details(world.registry, "penguins")
    assert found.report == ({"verdict": judged[-1], "html": "r.html"} if judged else "too slow today")
    assert ("too slow today" in str(found)) is (published == "skipped")
