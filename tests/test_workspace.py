"""The verbs on the memory launcher: every stage is real but the process and the port."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from models import classifier, halved, plain
from sklearn.base import clone

from nbdeploy.capture import bundle
from nbdeploy.errors import (
    BreaksCallers,
    CallRefused,
    Corrupt,
    GateRequired,
    NbdeployError,
    NotFound,
    NothingToRollBackTo,
    NotRunning,
    Refused,
    RegistryDamaged,
    SampleMissing,
    ServiceFailed,
    UnsupportedData,
    Untrusted,
    VersionIsLive,
    WrongUse,
)
from nbdeploy.run import options
from nbdeploy.turns import claimed
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings


pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    made = Workspace(settings)
    yield made
    for state in made.services():
        made.stop(state.name)


def deploy(workspace: Workspace, C: float = 1.0, **options: Any) -> Service:
    fitted = plain(C)
    given: dict[str, Any] = {
        "name": "penguins",
        "sample": fitted.X,
        "target": fitted.y,
        "launcher": "memory",
        **options,
    }
    return workspace.deploy(fitted.model, **given)


def test_a_deployed_model_answers_as_in_the_kernel(workspace: Workspace) -> None:
    fitted = classifier()
    service = workspace.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y, launcher="memory")
    assert (service.version, service.state, service.previous, service.already_live) == ("1.0.0", "ready", None, False)
    np.testing.assert_array_equal(service.predict(fitted.X), fitted.model.predict(fitted.X))
    np.testing.assert_allclose(service.predict_proba(fitted.X), fitted.model.predict_proba(fitted.X), rtol=1e-9)


def test_the_same_model_again_is_already_live(workspace: Workspace) -> None:
    deploy(workspace)
    told: list[str] = []
    again = deploy(workspace, progress=told.append)
    assert (again.version, again.already_live) == ("1.0.0", True)
    assert told[-2:] == [
        "no new version: this is penguins 1.0.0, live already",
        "nothing changed: 1.0.0 answers already",
    ]
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.0"]


def test_again_forces_a_new_version(workspace: Workspace) -> None:
    deploy(workspace)
    assert deploy(workspace, again=True).version == "1.0.1"


def test_a_stopped_service_starts_again_with_the_same_model(workspace: Workspace) -> None:
    deploy(workspace)
    workspace.stop("penguins")
    again = deploy(workspace)
    assert (again.version, again.already_live, again.state) == ("1.0.0", True, "ready")


def test_a_retrained_model_is_a_patch_and_its_reason_is_kept(workspace: Workspace) -> None:
    deploy(workspace)
    second = deploy(workspace, C=0.1)
    assert (second.version, second.previous) == ("1.0.1", "1.0.0")
    newest = workspace.versions("penguins")[0]
    assert (newest.bump, newest.live, newest.serving) == ("patch", True, True)
    assert "C" in newest.reason


def test_a_column_less_is_a_major_version(workspace: Workspace) -> None:
    deploy(workspace)
    fitted = plain(columns=("mass", "age"))
    service = workspace.deploy(fitted.model, name="penguins", sample=fitted.X, launcher="memory")
    assert service.version == "2.0.0"


def test_a_breaking_version_is_refused_where_compatibility_is_required(workspace: Workspace) -> None:
    deploy(workspace)
    fitted = plain(columns=("mass", "age"))
    with pytest.raises(BreaksCallers, match="bill"):
        workspace.deploy(fitted.model, name="penguins", sample=fitted.X, require_compatible=True)
    assert workspace.attach("penguins").version == "1.0.0"


def test_rollback_goes_back_step_by_step_and_is_refused_at_the_first(workspace: Workspace) -> None:
    for C in (1.0, 0.1, 0.01):
        deploy(workspace, C=C)
    assert workspace.rollback("penguins").version == "1.0.1"
    assert workspace.rollback("penguins").version == "1.0.0"
    with pytest.raises(NothingToRollBackTo):
        workspace.rollback("penguins")


def test_rollback_to_a_version_twice_changes_nothing_the_second_time(workspace: Workspace) -> None:
    deploy(workspace)
    deploy(workspace, C=0.1)
    assert not workspace.rollback("penguins", to="1.0.0").already_live
    events = len(workspace.registry.events("penguins"))
    assert workspace.rollback("penguins", to="1.0.0").already_live
    assert len(workspace.registry.events("penguins")) == events


def test_previous_is_what_was_live_before_the_call(workspace: Workspace) -> None:
    assert deploy(workspace).previous is None
    assert deploy(workspace, C=0.1).previous == "1.0.0"
    again = deploy(workspace, C=0.1)
    assert (again.previous, again.already_live) == ("1.0.1", True)
    back = workspace.rollback("penguins")
    assert (back.version, back.previous) == ("1.0.0", "1.0.1")
    workspace.stop("penguins")
    started = workspace.serve("penguins", launcher="memory")
    assert (started.version, started.previous, started.already_live) == ("1.0.0", "1.0.0", False)
    workspace.registry.make_live("penguins", "1.0.1")  # a crash between commit and hand-over: 1.0.0 still answers
    told = workspace.serve("penguins", version="1.0.0").to_dict()
    assert (told["version"], told["previous"], told["already_live"]) == ("1.0.0", "1.0.1", True)


def test_stop_keeps_the_live_version_and_serve_starts_it(workspace: Workspace) -> None:
    deploy(workspace)
    workspace.stop("penguins")
    assert [version.live for version in workspace.versions("penguins")] == [True]
    assert list(workspace.services()) == []
    assert [state.state for state in workspace.services(all=True)] == ["stopped"]
    with pytest.raises(NotRunning):
        workspace.attach("penguins")
    assert workspace.serve("penguins").state == "ready"


def test_the_live_version_cannot_be_removed(workspace: Workspace) -> None:
    deploy(workspace)
    deploy(workspace, C=0.1)
    with pytest.raises(VersionIsLive):
        workspace.remove("penguins", "1.0.1")
    workspace.remove("penguins", "1.0.0")
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.1"]
    with pytest.raises(Refused, match="serving"):
        workspace.remove("penguins")


def test_a_removed_name_leaves_nothing_behind(workspace: Workspace, settings: Settings) -> None:
    deploy(workspace)
    workspace.stop("penguins")
    workspace.remove("penguins")
    assert not (settings.services / "penguins").exists()
    assert not (settings.bentoml_home / "bentos" / "penguins" / "1.0.0").exists()
    with pytest.raises(NotFound):
        workspace.attach("penguins")


def test_a_removed_name_is_unknown_and_is_not_suggested(workspace: Workspace) -> None:
    deploy(workspace)
    with pytest.raises(VersionIsLive, match="`stop penguins`, then `remove penguins`"):
        workspace.remove("penguins", "1.0.0")
    workspace.stop("penguins")
    assert [item.version for item in workspace.remove("penguins")] == ["1.0.0"]
    for ask in (workspace.attach, workspace.versions, workspace.show, workspace.remove):
        with pytest.raises(NotFound) as refused:
            ask("penguins")
        assert str(refused.value) == 'There is no service "penguins".'


def test_a_removed_name_is_not_listed(workspace: Workspace) -> None:
    deploy(workspace)
    workspace.stop("penguins")
    assert [(state.name, state.state) for state in workspace.services(all=True)] == [("penguins", "stopped")]
    workspace.remove("penguins")
    assert (list(workspace.services(all=True)), workspace.names()) == ([], [])


def test_what_runs_is_listed_and_live_again_after_the_registry_was_lost(
    workspace: Workspace, settings: Settings
) -> None:
    """F25."""
    deploy(workspace)
    deploy(workspace, C=0.1)
    workspace.rollback("penguins")
    settings.registry.write_bytes(b"no database")
    with pytest.raises(RegistryDamaged):
        workspace.versions("penguins")
    assert [(state.name, state.version) for state in workspace.services()] == [("penguins", "1.0.0")]
    assert sorted(workspace.recover().adopted) == ["penguins:1.0.0", "penguins:1.0.1"]
    assert [(found.version, found.live, found.serving) for found in workspace.versions("penguins")] == [
        ("1.0.1", False, False),
        ("1.0.0", True, True),
    ]


@pytest.mark.parametrize("running", [True, False])
def test_how_a_service_runs_is_known_again_after_the_registry_was_lost(
    workspace: Workspace, settings: Settings, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    monkeypatch.setenv("TABLE", "1")
    deploy(workspace, workers=2, no_auth=True, strict_log=True, env=["TABLE"])
    kept = workspace.registry.service("penguins")
    assert set(kept) == {"launcher", "workers", "no_auth", "strict_log", "env"}
    if not running:
        workspace.stop("penguins")
    settings.registry.write_bytes(b"no database")
    workspace.recover()
    assert workspace.registry.service("penguins") == kept
    copy = settings.services / "penguins" / "options.json"
    assert copy.stat().st_mode & 0o077 == 0
    for text in ("", "[]", '{"workers": "many"}', '{"launcher": "rocket"}', '{"port": 4'):
        copy.write_text(text)
        workspace.recover()
        assert options.saved(copy.parent) == kept
    if not running:
        monkeypatch.delenv("TABLE")
        with pytest.raises(WrongUse, match="has no variable TABLE, which the service is started with"):
            workspace.serve("penguins")


def test_f25_what_runs_can_be_asked_while_the_registry_is_damaged(workspace: Workspace, settings: Settings) -> None:
    fitted = plain()
    deploy(workspace, no_auth=True)
    settings.registry.write_bytes(b"no database")
    for _ in range(2):
        service = workspace.attach("penguins")
        np.testing.assert_array_equal(service.predict(fitted.X), fitted.model.predict(fitted.X))
        assert (service.version, service.launcher, service.state) == ("1.0.0", "memory", "ready")
        assert "`nbdeploy recover` rebuilds it" in str(service)
    with pytest.raises(RegistryDamaged):
        workspace.serve("penguins")
    told: list[str] = []
    assert "runs in memory" in next(workspace.logs("penguins", progress=told.append))
    assert "`nbdeploy recover` rebuilds it" in told[0]
    with pytest.raises(RegistryDamaged):
        workspace.logs("nobody")


def test_f30_what_runs_can_be_asked_when_its_bundle_is_gone_and_is_not_started_again(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    fitted = plain()
    deploy(workspace)
    first, second = workspace.registry.get("penguins"), deploy(workspace, C=0.1)
    file = workspace.export("penguins", "1.0.0", tmp_path / "penguins.bento")
    for version in (first.bundle, second.bundle):
        shutil.rmtree(version)
    service = workspace.attach("penguins")
    np.testing.assert_array_equal(service.predict(fitted.X), plain(0.1).model.predict(fitted.X))
    for shown in (str(service), str(workspace.services())):
        assert f"bundle missing ({second.bundle})" in shown
        assert "ready" in shown
    assert workspace.serve("penguins").already_live
    step = "restore it from an export with `nbdeploy import FILE`, or deploy again with --again"
    with pytest.raises(Corrupt, match=f"penguins:1.0.0 .*{step}"):
        workspace.rollback("penguins")
    workspace.stop("penguins")
    with pytest.raises(Corrupt, match=f"penguins:1.0.1 .*{step}"):
        workspace.serve("penguins")
    with pytest.raises(Corrupt, match="--again"):
        deploy(workspace, C=0.1)
    assert workspace.registry.get("penguins").version == "1.0.1"
    assert workspace.import_bundle(file).version == "1.0.0"
    assert workspace.serve("penguins", version="1.0.0").version == "1.0.0"
    assert deploy(workspace, C=0.1, again=True).version == "1.0.2"


def test_a_name_that_was_removed_does_not_come_back_open(workspace: Workspace) -> None:
    assert deploy(workspace, no_auth=True).token_file is None
    workspace.stop("penguins")
    workspace.remove("penguins")
    assert deploy(workspace, C=0.1).token_file is not None


def test_recover_clears_what_a_killed_process_was_staging(workspace: Workspace, settings: Settings) -> None:
    (settings.bundles / ".staging-dead" / "src").mkdir(parents=True)
    with bundle._staging(settings.bundles) as in_use:
        assert workspace.recover().cleaned == ["bundles/.staging-dead"]
        assert list(settings.bundles.iterdir()) == [in_use]


def test_a_bundle_made_again_stays_where_another_deploy_is_at_work(workspace: Workspace) -> None:
    """F32"""
    fitted = plain()
    first = workspace.bundle(fitted.model, name="penguins", sample=fitted.X)
    place = first.folder.stat().st_ino
    again = workspace.bundle(fitted.model, name="penguins", sample=fitted.X)
    assert (again.folder, again.folder.stat().st_ino, again.digest) == (first.folder, place, first.digest)
    assert workspace.bundle_of(first.reference).manifest.created == again.manifest.created > first.manifest.created
    for broken in (first.src / "golden.json", first.requirements):
        broken.unlink()
        workspace.bundle(fitted.model, name="penguins", sample=fitted.X)
        assert broken.is_file()
        assert first.folder.stat().st_ino != place
        place = first.folder.stat().st_ino
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


def test_a_model_that_was_published_once_is_deployed_beside_another_deploy_of_its_name(workspace: Workspace) -> None:
    first = deploy(workspace)
    deploy(workspace, C=0.1)
    fitted = plain(0.1)
    other = workspace.bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)
    published = [version.digest for version in workspace.versions("penguins")]

    def other_ends(said: str) -> None:
        if said == "check":
            bundle.clear(workspace.settings.bundles, other, published)

    assert deploy(workspace, progress=other_ends).version == "1.0.2"
    assert workspace.show("penguins").version.digest == workspace.show("penguins", first.version).version.digest
    bundle.clear(workspace.settings.bundles, other, published)
    assert list(workspace.settings.bundles.iterdir()) == []  # held no longer


def test_a_bundle_that_was_cleared_before_it_was_held_is_made_again(workspace: Workspace) -> None:
    fitted = plain()
    made = 0

    def make() -> bundle.Bundle:
        nonlocal made
        made += 1
        found = workspace.bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)
        if made == 1:
            shutil.rmtree(found.folder)
        return found

    with bundle.kept(make) as found:
        assert found.requirements.is_file()
    assert made == 2


def test_what_killed_checks_and_trials_left_is_swept_and_nothing_else(workspace: Workspace, settings: Settings) -> None:
    fitted = plain()
    bundle = workspace.bundle(fitted.model, name="penguins", sample=fitted.X)
    trials = [workspace.serve(bundle) for _ in range(2)]
    assert len({trial.folder for trial in trials}) == 2, "one bundle tried twice at once"
    dead = [settings.services / ".trial-a", settings.services / ".trial-b"]
    for folder in dead:
        (folder / "predictions").mkdir(parents=True)
    with claimed(dead[0] / "supervisor.lock") as alone:  # its kernel was killed, its supervisor is on its way out
        assert alone
        assert workspace.recover().cleaned == ["services/.trial-b"]
    trials[0].stop()
    third = workspace.serve(bundle)
    assert {path.name for path in settings.services.iterdir()} == {trials[1].folder.name, third.folder.name}
    np.testing.assert_array_equal(trials[1].predict(fitted.X), fitted.model.predict(fitted.X))
    trials[1].stop()
    third.stop()
    assert list(settings.services.iterdir()) == []


def test_a_trial_is_nobodys_service(workspace: Workspace) -> None:
    fitted = plain()
    trial = workspace.serve(workspace.bundle(fitted.model, name="penguins", sample=fitted.X))
    assert list(workspace.services(all=True)) == []
    trial.stop()


def test_an_exported_version_is_served_elsewhere_once_trusted(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    fitted = classifier()
    workspace.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y, launcher="memory")
    file = workspace.export("penguins", "1.0.0", tmp_path / "penguins.bento")
    other = Workspace(replace(settings, home=tmp_path / "other", bentoml_home=tmp_path / "other-bentoml"))
    version = other.import_bundle(file)
    with pytest.raises(Untrusted, match=version.digest):
        other.serve("penguins", version="1.0.0", launcher="memory")
    other.import_bundle(file, trust=version.digest)
    service = other.serve("penguins", version="1.0.0", launcher="memory")
    np.testing.assert_array_equal(service.predict(fitted.X), fitted.model.predict(fitted.X))
    other.stop("penguins")


def test_a_bundle_is_tried_without_being_registered(workspace: Workspace) -> None:
    fitted = classifier()
    bundle = workspace.bundle(fitted.model, name="trial", sample=fitted.X)
    service = workspace.serve(bundle)
    np.testing.assert_array_equal(service.predict(fitted.X), fitted.model.predict(fitted.X))
    assert (service.version, service.state, service.launcher) == (None, "ready", "memory")
    service.stop()
    assert workspace.names() == []


def test_a_bundle_is_published_without_going_live(workspace: Workspace) -> None:
    fitted = plain()
    bundle = workspace.bundle(fitted.model, name="penguins", sample=fitted.X)
    assert workspace.bundle_of(bundle.reference).digest == bundle.digest
    assert not workspace.publish(bundle).live
    assert workspace.serve("penguins", version="1.0.0", launcher="memory").version == "1.0.0"


def test_a_gate_that_is_required_refuses_and_a_reason_skips_it(settings: Settings) -> None:
    strict = Workspace(replace(settings, require_gate=True))
    with pytest.raises(GateRequired):
        deploy(strict)
    assert strict.names() == []
    deploy(strict, skip_gate="hot fix, judged by hand")
    version = strict.show("penguins")
    assert (version.version.gate, version.report) == ("skipped", "hot fix, judged by hand")
    strict.stop("penguins")


def test_extra_columns_are_accepted_only_where_they_are_keys(workspace: Workspace) -> None:
    fitted = plain()
    with_order = fitted.X.assign(order=range(len(fitted.X)))
    service = workspace.deploy(fitted.model, name="keyed", sample=with_order, keys=["order"], launcher="memory")
    np.testing.assert_array_equal(service.predict(with_order), fitted.model.predict(fitted.X))
    with pytest.raises(CallRefused, match="colour"):
        service.predict(fitted.X.assign(colour="red"))


def test_the_target_may_be_a_column_of_the_sample(workspace: Workspace) -> None:
    fitted = plain()
    bundle = workspace.bundle(fitted.model, name="named", sample=fitted.X.assign(weight=fitted.y), target="weight")
    assert "weight" not in [column.name for column in bundle.manifest.schema.columns]
    assert bundle.manifest.metrics["training"]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"sample": None}, SampleMissing, r"sample=X_train"),
        ({"name": "Has Blanks"}, WrongUse, "Has Blanks"),
        ({"name": "latest"}, WrongUse, "latest"),
        ({"launcher": "locl"}, WrongUse, 'mean "local"'),
        ({"workers": 0}, WrongUse, "--workers 0"),
        ({"port": 70_000}, WrongUse, "--port 70000"),
        ({"port": "3000"}, WrongUse, "--port '3000'"),
        ({"bump": "big"}, WrongUse, "major, minor or patch"),
        ({"name": 3}, WrongUse, "an int was given"),
        ({"gate": ["accuracy>=0.9"]}, WrongUse, "--data"),
        ({"data": 1, "gate": ["accuracy>=0.9"]}, UnsupportedData, "the held-out data is an int"),
        ({"data": 1, "gate": ["accuracy=>0.9"]}, WrongUse, 'Did you mean ">="?'),
        ({"data": 1, "gate": 0.9}, WrongUse, "gate=0.9 is no condition"),
        ({"skip_gate": " "}, WrongUse, "needs a reason"),
        ({"skip_gate": "late", "data": 1}, WrongUse, "not both"),
        ({"env": ["NO_SUCH_VARIABLE"]}, WrongUse, "NO_SUCH_VARIABLE"),
        ({"target": "species"}, NotFound, "species"),
    ],
)
def test_wrong_use_says_what_to_write(
    workspace: Workspace, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        deploy(workspace, **options)
    assert workspace.names() == []


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda space: space.publish(3), WrongUse, "An int is no bundle"),
        (lambda space: space.check(None), WrongUse, "A NoneType is no bundle"),
        (lambda space: space.serve(3), WrongUse, "An int is no bundle"),
        (lambda space: space.publish("penguins"), NotFound, 'no bundle "penguins"'),
        (lambda space: space.rollback(None), NotFound, 'no service "None"'),
        (lambda space: space.at("penguins", 3), WrongUse, '"3" is not a time'),
        (lambda space: space.monitor("penguins", last=3), WrongUse, '"3" is no span of time'),
    ],
)
def test_a_value_of_another_type_is_told_with_what_to_write(
    workspace: Workspace, call: Callable[[Workspace], Any], error: type[Exception], told: str
) -> None:
    deploy(workspace)
    with pytest.raises(error, match=told):
        call(workspace)


def test_a_bundle_is_named_by_its_reference_and_a_time_may_be_a_datetime(workspace: Workspace) -> None:
    made = workspace.bundle(plain().model, name="penguins", sample=plain().X)
    assert workspace.publish(made.reference).version == "1.0.0"
    assert workspace.at("penguins", datetime.now(UTC)).version is None


def test_a_function_is_served_as_predict(workspace: Workspace) -> None:
    sample = plain().X
    service = workspace.deploy(halved, name="halved", sample=sample, launcher="memory")
    assert service.methods == ("predict",)
    np.testing.assert_array_equal(service.predict(sample), halved(sample))


@pytest.mark.parametrize("cut", [slice(10), slice(0)])
def test_a_target_of_another_length_than_the_sample_is_refused(workspace: Workspace, cut: slice) -> None:
    fitted = plain()
    said = rf"has {len(fitted.y[cut])} labels for the sample's {len(fitted.X)} rows; give one label for each row"
    with pytest.raises(UnsupportedData, match=said):
        workspace.bundle(fitted.model, name="cut", sample=fitted.X, target=fitted.y[cut])


def test_a_model_in_no_variable_needs_a_name(workspace: Workspace) -> None:
    with pytest.raises(WrongUse, match="name="):
        workspace.bundle(plain().model, sample=plain().X)


def test_what_is_running_keeps_its_launcher(workspace: Workspace) -> None:
    deploy(workspace)
    with pytest.raises(Refused, match="stop penguins"):
        deploy(workspace, C=0.1, launcher="local")


def test_f25_a_service_can_be_stopped_while_the_registry_is_damaged(workspace: Workspace) -> None:
    deploy(workspace)
    with workspace.settings.registry.open("r+b") as file:
        file.truncate(5_000)
    with pytest.raises(RegistryDamaged):
        workspace.versions("penguins")
    workspace.stop("penguins")
    assert list(workspace.services()) == []


def test_a_service_whose_token_was_deleted_says_so_and_serve_gives_it_another(workspace: Workspace) -> None:
    fitted = plain()
    service = deploy(workspace)
    token = workspace.token_file("penguins")
    token.unlink()
    with pytest.raises(ServiceFailed, match="serve penguins"):
        workspace.attach("penguins").predict(fitted.X)
    assert not token.exists()
    again = workspace.serve("penguins", launcher="memory")
    assert (again.version, again.already_live) == (service.version, False)
    np.testing.assert_array_equal(again.predict(fitted.X), fitted.model.predict(fitted.X))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X, y: {"sample": X.assign(weight=y)}, 'still has the target, as its column "weight"; leave it out, or'),
        (lambda X, y: {"sample": X.assign(other=y.to_numpy())}, 'still has the target, as its column "other"'),
        (lambda X, y: {"sample": X.iloc[0]}, r"is one row; give a table: X.iloc\[\[0\]\]"),
        (lambda X, y: {"sample": X.to_dict()}, "the sample is a dict"),
        (lambda X, y: {"sample": X.drop(columns="mass").assign(size=1)}, 'the sample has "size" and lacks "mass"'),
        (lambda X, y: {"model": X}, "A DataFrame is no fitted model"),
        (lambda X, y: {"model": type(plain().model)}, "Pipeline is a class; deploy an object of it"),
        (lambda X, y: {"model": clone(plain().model)}, "NotFittedError.*; fit it first"),
    ],
)
def test_a_sample_unlike_what_the_model_was_fitted_on_is_told_so(workspace: Workspace, change: Any, said: str) -> None:
    fitted = plain()
    given = {"model": fitted.model, "sample": fitted.X, "target": fitted.y} | change(fitted.X, fitted.y)
    with pytest.raises(NbdeployError, match=said):
        workspace.bundle(given.pop("model"), name="penguins", **given)


def test_columns_the_model_does_without_are_told(workspace: Workspace) -> None:
    fitted = classifier()
    target = np.column_stack([fitted.y, fitted.y])
    bundled = workspace.bundle(fitted.model, name="penguins", sample=fitted.X.assign(note=1), target=target)
    assert any('not fitted on "note", which every caller has to send' in told for told in bundled.warnings)


def test_a_version_is_named_in_one_word_or_two(workspace: Workspace, tmp_path: Path) -> None:
    deploy(workspace)
    file = tmp_path / "penguins.bento"
    written = [workspace.export("penguins", file), workspace.export("penguins:1.0.0", str(file))]
    written += [workspace.export("penguins", "1.0.0", file), workspace.export("penguins", None, file)]
    assert written == [file] * 4
    assert workspace.serve("penguins:1.0.0").version == "1.0.0"
    for wrong in (("penguins:1.0.0", "2.0.0", file), ("penguins",)):
        with pytest.raises(WrongUse):
            workspace.export(*wrong)
    with pytest.raises(WrongUse, match="two versions"):
        workspace.serve("penguins:1.0.0", version="1.0.1")


def test_a_bundle_is_published_once(workspace: Workspace) -> None:
    fitted = plain()
    bundled = workspace.bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)
    first = workspace.publish(bundled)
    second = workspace.publish(bundled)
    assert (second.version, second.already_published, first.already_published) == (first.version, True, False)
    assert "Already published as 1.0.0" in str(second)
    assert workspace.publish(bundled, again=True).version == "1.0.1"
    assert [item.version for item in workspace.versions("penguins")] == ["1.0.1", "1.0.0"]


def test_a_sample_with_rows_the_model_refuses_is_bundled_with_a_word_on_it(workspace: Workspace) -> None:
    fitted = plain()
    sample = fitted.X.copy()
    sample.iloc[3, 0] = np.nan
    bundled = workspace.bundle(fitted.model, name="penguins", sample=sample, target=fitted.y)
    assert any("predict does not answer every row of the sample (ValueError" in told for told in bundled.warnings)
    assert not bundled.manifest.schema.columns[0].nullable
