"""The gate in the path, with a run that starts no kernel: what passes is published with its report, what fails is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gatebooks import faked, notebook
from models import plain

from nbdeploy.errors import DiskFailed, GateRefused, GateRequired, NotFound, UnsupportedData, VersionRefused, WrongUse
from nbdeploy.front.grammar import VERBS
from nbdeploy.gating import TASKS
from nbdeploy.judge import heldout
from nbdeploy.runtime.manifest import Manifest
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gatebooks import FakeRun

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.report import Report
    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings


pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    made = Workspace(settings)
    yield made
    for state in made.services():
        made.stop(state.name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    return faked(monkeypatch, metrics={"accuracy": 0.9})


@pytest.fixture
def gatebook(tmp_path: Path) -> Path:
    return notebook(tmp_path / "gate.ipynb", "judge()")


def deploy(workspace: Workspace, C: float = 1.0, **options: Any) -> Service:
    fitted = plain(C)
    given: dict[str, Any] = {"name": "penguins", "sample": fitted.X, "target": fitted.y, "launcher": "memory"}
    return workspace.deploy(fitted.model, **given | options)


def bundled(workspace: Workspace, C: float = 1.0) -> Bundle:
    fitted = plain(C)
    return workspace.bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)


def test_what_passes_is_published_with_its_report(workspace: Workspace, run: FakeRun) -> None:
    said: list[str] = []
    fitted = plain()
    service = deploy(workspace, data=(fitted.X, fitted.y), gate=["accuracy>=0.8"], progress=said.append)
    assert [phase for phase in said if phase in {"bundle", "check", "gate", "publish", "serve"}] == [
        "bundle",
        "check",
        "gate",
        "publish",
        "serve",
    ]
    assert service.gate == "passed"
    assert service.report.verdict == "passed"
    shown = workspace.show("penguins").to_dict()
    assert shown["gate"] == "passed"
    assert shown["report"]["verdict"] == "passed"
    assert shown["report"]["notebook"].endswith("validate_classification.ipynb")
    assert {"notebook_digest", "html", "metrics", "checks"} <= shown["report"].keys()
    assert shown["report"]["metrics"]["accuracy"]["value"] == 0.9
    assert str(service.report.html) in str(service)


def test_the_notebook_is_given_what_it_declares(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    fitted = plain()
    seen: list[Any] = []
    run.during = lambda: seen.append(heldout.read(run.given[-1]["data"], run.given[-1]["target"]))
    deploy(workspace, data=fitted.X.assign(weight=fitted.y), validate=gatebook, gate=["accuracy>=0.8"])
    (given,) = run.given
    assert given.keys() == {"url", "token_file", "data", "target", "live_url"}
    assert (given["target"], given["live_url"], given["token_file"]) == ("weight", "", "")
    assert given["url"].startswith("http://trial/")
    assert seen[0].rows.equals(fitted.X)
    assert seen[0].target.tolist() == fitted.y.tolist()
    assert not Path(given["data"]).exists()  # the rows are the user's own: kept nowhere


def test_a_deploy_gives_its_notebook_the_users_parameters(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    fitted = plain()
    deploy(workspace, data=(fitted.X, fitted.y), validate=gatebook, gate=["accuracy>0"], parameters={"limit": "0.7"})
    assert run.given[-1]["limit"] == 0.7
    with pytest.raises(WrongUse, match="-p gives a parameter to the notebook of a gate"):
        deploy(workspace, parameters={"limit": "0.7"})


def test_what_fails_is_refused_with_the_failing_checks_in_hand(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    run.expected = {"no leakage": False, "calibrated": True}
    with pytest.raises(GateRefused) as caught:
        deploy(workspace, data=(fitted.X, fitted.y), gate=["accuracy>=0.95", "accuracy>=0.5"])
    error = caught.value
    assert error.exit_code == 1
    assert "accuracy>=0.95: failed (0.9, below 0.95)" in str(error)
    assert "no leakage: failed" in str(error)
    assert "nothing was published" in str(error)
    assert [check.passed for check in error.report.checks] == [False, False, True, True]
    assert error.report.html.is_file()
    assert workspace.names() == []
    assert not list(workspace.settings.bentoml_home.glob("bentos/*/*"))


def test_a_refused_version_leaves_live_as_it_was(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    first = deploy(workspace)
    with pytest.raises(GateRefused):
        deploy(workspace, C=0.1, data=(fitted.X, fitted.y), gate=["accuracy>0.9"])
    (version,) = workspace.versions("penguins")
    assert (version.version, version.live, version.serving, version.gate) == ("1.0.0", True, True, "none")
    assert first.predict(fitted.X).tolist() == fitted.model.predict(fitted.X).tolist()


@pytest.mark.parametrize(("value", "passes"), [(0.91, True), (0.9, False), (0.8, False)])
def test_a_challenger_must_be_better_than_what_is_live(
    workspace: Workspace, run: FakeRun, value: float, passes: bool
) -> None:
    fitted = plain()
    options: dict[str, Any] = {"data": (fitted.X, fitted.y), "gate": ["accuracy>=0.5", "accuracy>live"]}
    champion = deploy(workspace, **options)
    assert [check.passed for check in champion.report.checks] == [True, None]
    run.metrics = {"accuracy": value, "live.accuracy": 0.9}
    if passes:
        assert deploy(workspace, C=0.1, **options).version == "1.0.1"
        assert run.given[-1]["live_url"].endswith(champion.bundle_version.digest[-8:])  # type: ignore[union-attr]
    else:
        with pytest.raises(GateRefused, match=r"live is 0\.9"):
            deploy(workspace, C=0.1, **options)
        assert workspace.show("penguins").version.version == "1.0.0"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"metrics": {"accuracy": float("nan")}}, "it is NaN"),
        ({"metrics": {"acuracy": 0.9}}, 'Did you mean "acuracy"?'),
        ({"metrics": {"accuracy": 1.0}, "ended": "its kernel died"}, "its kernel died"),
        ({"metrics": {"accuracy": 1.0}, "expected": {"sane": False}}, "sane: failed"),
    ],
)
def test_a_gate_fails_closed(workspace: Workspace, run: FakeRun, said: dict[str, Any], told: str) -> None:
    fitted = plain()
    vars(run).update(said)
    with pytest.raises(GateRefused) as caught:
        deploy(workspace, data=(fitted.X, fitted.y), gate=["accuracy>=0.5"])
    assert told in str(caught.value)
    assert workspace.names() == []


def test_a_notebook_that_checks_nothing_refuses(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    with pytest.raises(GateRefused, match="expects nothing and no condition applies"):
        deploy(workspace, validate=gatebook)
    with pytest.raises(GateRefused, match="no condition applies"):
        deploy(workspace, validate=gatebook, gate=["accuracy>=live"])


def test_conditions_of_the_settings_are_judged_too(settings: Settings, run: FakeRun) -> None:
    strict = Workspace(replace(settings, gate=("accuracy>=0.95",), thresholds={"log_loss": {"threshold": 1}}))
    fitted = plain()
    with pytest.raises(GateRefused) as caught:
        deploy(strict, data=(fitted.X, fitted.y))
    assert caught.value.report.conditions == ("accuracy>=0.95", "log_loss<=1")


def test_a_condition_for_the_worse_is_warned_of(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    service = deploy(workspace, data=(fitted.X, fitted.y), gate=["accuracy<=0.95"])
    assert service.report.warnings == ("accuracy<=0.95 is judged as written, but greater is better for accuracy",)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"gate": ["accuracy>=0.9"]}, WrongUse, "give --data X_test,y_test"),
        ({"data": 1, "skip_gate": "late"}, WrongUse, "not both"),
        ({"skip_gate": ""}, WrongUse, "needs a reason"),
        ({"skip_gate": "\u200b"}, WrongUse, "needs a reason"),
        ({"data": 1, "gate": ["accuracy=>1"]}, WrongUse, 'Did you mean ">="?'),
        ({"data": 1, "gate": ["r3>=0.9"]}, WrongUse, 'built-in validation notebooks. Did you mean "r2"?'),
        ({"data": 1, "validate": "nowhere.ipynb"}, NotFound, "nowhere.ipynb"),
        ({"data": 1, "gate": ["nowhere.yaml"]}, WrongUse, "nowhere.yaml"),
        ({"data": "nowhere.csv"}, NotFound, "nowhere.csv"),
        ({"data": (1, 2, 3)}, WrongUse, "3 parts"),
    ],
)
def test_wrong_use_is_told_before_anything_is_bundled(
    workspace: Workspace, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    said: list[str] = []
    with pytest.raises(error) as caught:
        deploy(workspace, progress=said.append, **options)
    assert told in str(caught.value)
    assert said == []


def test_rows_without_labels_are_told_before_anything_is_started(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    with pytest.raises(WrongUse, match="--target COLUMN"):
        deploy(workspace, target=None, data=fitted.X)
    with pytest.raises(UnsupportedData, match="120 rows and 2 labels"):
        deploy(workspace, data=(fitted.X, ["a", "b"]))
    assert run.given == []


def test_a_metric_the_template_of_the_task_never_records_is_told_before_anything_is_started(
    workspace: Workspace, run: FakeRun, gatebook: Path
) -> None:
    fitted = plain()
    with pytest.raises(WrongUse, match=r"never in validate_classification\.ipynb\. There is: accuracy, .*roc_auc"):
        deploy(workspace, data=(fitted.X, fitted.y), gate=["r2@island>=0.9"])
    with pytest.raises(WrongUse, match='Did you mean "recall_macro"'):
        workspace.validate(bundled(workspace), data=(fitted.X, fitted.y), gate=["recal_macro>=0.9"])
    assert run.given == []
    with pytest.raises(GateRefused):
        deploy(workspace, validate=gatebook, gate=["r2>=0.9"])
    assert len(run.given) == 1


def test_a_required_gate_is_asked_for_before_anything_is_bundled(settings: Settings, run: FakeRun) -> None:
    strict = Workspace(replace(settings, require_gate=True))
    said: list[str] = []
    fitted = plain()
    with pytest.raises(GateRequired, match="penguins was not judged"):
        deploy(strict, progress=said.append)
    assert said == []
    bundle = bundled(strict)
    with pytest.raises(GateRequired):
        strict.publish(bundle)
    assert deploy(strict, data=(fitted.X, fitted.y), gate=["accuracy>0"]).gate == "passed"
    deploy(strict, C=0.1, skip_gate="hot fix")
    assert ("gate skipped", "hot fix") in [(fact[0], str(fact[1])[:7]) for fact in strict.show("penguins").card().facts]
    strict.stop("penguins")


def test_what_is_live_already_is_not_judged_and_that_is_said(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    deploy(workspace)
    again = deploy(workspace, data=(fitted.X, fitted.y))
    assert again.already_live
    assert run.given == []
    assert "`validate penguins` judges it" in str(again)


def test_an_interrupted_gate_leaves_the_old_state(workspace: Workspace, run: FakeRun, settings: Settings) -> None:
    fitted = plain()
    deploy(workspace)

    def interrupt() -> None:
        raise KeyboardInterrupt

    run.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        deploy(workspace, C=0.1, data=(fitted.X, fitted.y), gate=["accuracy>0"])
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.0"]
    assert [path for path in settings.reports.rglob("*") if path.is_file()] == []
    run.during = None
    assert deploy(workspace, C=0.1, data=(fitted.X, fitted.y), gate=["accuracy>0"]).version == "1.0.1"


def test_a_later_judgement_is_noted_on_the_version(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    deploy(workspace)
    report = workspace.validate("penguins", data=(fitted.X, fitted.y), gate=["accuracy>=0.95"])
    assert (report.subject, report.verdict, report.version) == ("penguins:1.0.0", "refused", "1.0.0")
    assert workspace.versions("penguins")[0].gate == "refused"
    assert workspace.show("penguins").report["verdict"] == "refused"
    assert workspace.validate("penguins:1.0.0", data=(fitted.X, fitted.y), gate=["accuracy>0"]).verdict == "passed"
    assert workspace.versions("penguins")[0].gate == "passed"
    assert run.given[-1]["live_url"] == ""  # it is the live version itself


def test_a_version_that_was_refused_later_does_not_go_live_again(workspace: Workspace, run: FakeRun) -> None:
    fitted = plain()
    deploy(workspace)
    deploy(workspace, C=0.1)
    workspace.validate("penguins:1.0.0", data=(fitted.X, fitted.y), gate=["accuracy>=0.95"])
    with pytest.raises(VersionRefused, match=r"validate penguins:1\.0\.0"):
        workspace.serve("penguins", version="1.0.0")
    with pytest.raises(VersionRefused):
        workspace.rollback("penguins")
    assert workspace.attach("penguins").version == "1.0.1"
    assert workspace.serve("penguins", version="1.0.0", force=True).version == "1.0.0"
    assert "gate overridden" in [event.kind for event in workspace.show("penguins").events]
    workspace.stop("penguins")
    assert workspace.serve("penguins").version == "1.0.0"  # it is live


def test_required_is_a_gate_of_what_goes_live_for_the_first_time(workspace: Workspace, run: FakeRun) -> None:
    for C in (1.0, 0.1):
        deploy(workspace, C)
    workspace.publish(bundled(workspace, 0.01))
    strict = Workspace(replace(workspace.settings, require_gate=True))
    with pytest.raises(GateRequired, match=r"validate penguins:1\.0\.2"):
        strict.serve("penguins", version="1.0.2")
    assert strict.rollback("penguins").version == "1.0.0"  # it was live before


def test_another_version_is_compared_with_the_live_one(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    deploy(workspace)
    live = workspace.registry.live("penguins")
    bundle = bundled(workspace, C=0.1)
    run.metrics = {"accuracy": 0.9, "live.accuracy": 0.8}
    report = workspace.validate(bundle.reference, gatebook, gate=["accuracy>live"], parameters={"limit": "0.7"})
    assert live is not None
    assert run.given[-1]["live_url"].endswith(live.digest[-8:])
    assert run.given[-1]["limit"] == 0.7
    assert (report.verdict, report.subject, report.version) == ("passed", bundle.reference, None)


def test_a_report_lets_pass_while_what_it_compared_with_is_live(
    workspace: Workspace, run: FakeRun, gatebook: Path
) -> None:
    deploy(workspace)
    bundle = bundled(workspace, C=0.1)
    run.metrics = {"accuracy": 0.9, "live.accuracy": 0.8}
    report = workspace.validate(bundle.reference, gatebook, gate=["accuracy>live"])
    assert report.live == "1.0.0"
    deploy(workspace, C=0.01)
    with pytest.raises(GateRefused, match=r"compares with 1\.0\.0, and 1\.0\.1 is live now"):
        workspace.publish(bundle, report)
    workspace.rollback("penguins")
    assert workspace.publish(bundle, report).gate == "passed"


def test_the_live_version_answers_only_for_a_notebook_that_asks_it(
    workspace: Workspace, run: FakeRun, tmp_path: Path
) -> None:
    alone = notebook(tmp_path / "alone.ipynb", "judge()", parameters='url = ""')
    deploy(workspace)
    shutil.rmtree(Path(workspace.settings.bentoml_home) / "bentos" / "penguins")
    bundle = bundled(workspace, C=0.1)
    assert workspace.validate(bundle.reference, alone, gate=["accuracy>0.5"]).verdict == "passed"
    report = workspace.validate(bundle.reference, alone, gate=["accuracy>live"])
    (check,) = report.checks
    assert check.passed is False
    assert "declare live_url" in check.detail


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"limt": 1}, 'Did you mean "limit"?'), ({"url": "http://x"}, "by nbdeploy"), ({"data": "x"}, "--data")],
)
def test_an_undeclared_parameter_or_one_of_ours_is_refused(
    workspace: Workspace, run: FakeRun, gatebook: Path, parameters: dict[str, Any], told: str
) -> None:
    bundle = bundled(workspace)
    with pytest.raises(WrongUse, match=told):
        workspace.validate(bundle, gatebook, parameters=parameters)
    assert run.given == []


def test_a_notebook_that_was_not_told_where_the_version_answers_is_warned_of(
    workspace: Workspace, run: FakeRun, gatebook: Path, tmp_path: Path
) -> None:
    bundle = bundled(workspace)
    blind = notebook(tmp_path / "blind.ipynb", "judge()", parameters="link = 'http://127.0.0.1:3000'")
    report = workspace.validate(bundle, blind, gate=["accuracy>=0.5"])
    assert [
        f"blind.ipynb declares no url in its parameters cell, so it was not told where {bundle.reference}" in told
        for told in report.warnings
    ] == [True]
    assert report.warnings[0] in str(report)
    assert workspace.validate(bundle, gatebook, gate=["accuracy>=0.5"]).warnings == ()


# bound to bytes


def judged(workspace: Workspace, gatebook: Path) -> tuple[Bundle, Report]:
    bundle = bundled(workspace)
    report = workspace.validate(bundle, gatebook, gate=["accuracy>=0.5"])
    return bundle, report


def test_a_bundle_is_published_with_the_report_it_passed(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    bundle, report = judged(workspace, gatebook)
    version = workspace.publish(bundle, report=report)
    assert (version.gate, version.live) == ("passed", False)
    assert workspace.registry.get("penguins", "1.0.0").gate == "passed"


def test_a_report_given_later_is_noted(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    bundle, report = judged(workspace, gatebook)
    workspace.publish(bundle)
    again = workspace.publish(bundle, report=report)
    assert (again.version, again.gate, again.already_published) == ("1.0.0", "passed", True)
    assert workspace.registry.get("penguins", "1.0.0").gate == "passed"


def model_byte(bundle: Bundle, report: Report, gatebook: Path) -> None:
    path = bundle.src / "model.pkl"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def manifest_edited(bundle: Bundle, report: Report, gatebook: Path) -> None:
    path = bundle.src / "manifest.json"
    raw = json.loads(path.read_bytes())
    raw["model"]["task"] = "regression"
    path.write_text(json.dumps(raw), encoding="utf-8")


def manifest_forged(bundle: Bundle, report: Report, gatebook: Path) -> None:
    """Edited, and its digest made to fit."""
    manifest = replace(bundle.manifest, title="another")
    forged = replace(manifest, digest=manifest.computed_digest())
    (bundle.src / "manifest.json").write_bytes(forged.dumps())
    assert Manifest.load(bundle.src).digest != bundle.digest


def notebook_edited(bundle: Bundle, report: Report, gatebook: Path) -> None:
    gatebook.write_text(gatebook.read_text(encoding="utf-8").replace("judge()", "pass"), encoding="utf-8")


def notebook_gone(bundle: Bundle, report: Report, gatebook: Path) -> None:
    gatebook.unlink()


def executed_changed(bundle: Bundle, report: Report, gatebook: Path) -> None:
    report.executed.write_text(report.executed.read_text(encoding="utf-8") + " ", encoding="utf-8")


def report_changed(bundle: Bundle, report: Report, gatebook: Path) -> None:
    path = report.folder / "report.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.9", "0.99"), encoding="utf-8")


def report_gone(bundle: Bundle, report: Report, gatebook: Path) -> None:
    shutil.rmtree(report.folder)


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (model_byte, "model.pkl has changed"),
        (manifest_edited, "the manifest was edited"),
        (manifest_forged, "and this is sha256:"),
        (notebook_edited, "was edited after it ran"),
        (notebook_gone, "is gone; judge again"),
        (executed_changed, "executed.ipynb"),
        (report_changed, "report.json"),
        (report_gone, "it is gone"),
    ],
)
def test_what_was_changed_after_the_judgement_is_refused(
    workspace: Workspace, run: FakeRun, gatebook: Path, tamper: Callable[[Bundle, Report, Path], None], told: str
) -> None:
    bundle, report = judged(workspace, gatebook)
    tamper(bundle, report, gatebook)
    with pytest.raises(GateRefused) as caught:
        workspace.publish(bundle, report=report)
    assert told in str(caught.value)
    assert workspace.names() == []


def test_a_report_lets_no_other_bundle_pass(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    _, report = judged(workspace, gatebook)
    other = bundled(workspace, C=0.1)
    with pytest.raises(GateRefused, match="the report judges penguins@"):
        workspace.publish(other, report=report)
    with pytest.raises(WrongUse, match="takes what validate"):
        workspace.publish(other, report="passed")


def test_a_refused_report_made_to_say_passed_in_memory_is_still_refused(
    workspace: Workspace, run: FakeRun, gatebook: Path
) -> None:
    bundle = bundled(workspace)
    report = workspace.validate(bundle, gatebook, gate=["accuracy>=0.99"])
    forged = replace(report, checks=tuple(replace(check, passed=True) for check in report.checks))
    assert forged.verdict == "passed"
    with pytest.raises(GateRefused, match=r"below 0\.99"):
        workspace.publish(bundle, report=forged)


def test_a_model_changed_while_it_is_judged_is_refused(workspace: Workspace, run: FakeRun, gatebook: Path) -> None:
    def tamper() -> None:
        (bundle,) = workspace.settings.bundles.glob("penguins@*")
        path = bundle / "src" / "model.pkl"
        path.write_bytes(path.read_bytes() + b" ")

    run.during = tamper
    with pytest.raises(GateRefused, match=r"model\.pkl has changed"):
        deploy(workspace, validate=gatebook, gate=["accuracy>0"])
    assert workspace.names() == []


# new-validation


def test_a_validation_notebook_is_copied_once(workspace: Workspace, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspace.new_validation().name == "validate_classification.ipynb"
    with pytest.raises(WrongUse, match="--force writes over it"):
        workspace.new_validation("classification")
    assert workspace.new_validation("regression", "checks/gate.ipynb").is_file()
    assert workspace.new_validation("regression", "checks/gate.ipynb", force=True).is_file()
    with pytest.raises(WrongUse, match=r"ending in \.ipynb"):
        workspace.new_validation("regression", "gate.py")
    (tmp_path / "file").touch()
    with pytest.raises(DiskFailed, match=r"file/gate\.ipynb"):
        workspace.new_validation("regression", "file/gate.ipynb")


def test_a_versions_task_chooses_its_notebook(workspace: Workspace, tmp_path: Path) -> None:
    deploy(workspace)
    made = workspace.new_validation("penguins", tmp_path / "mine.ipynb")
    assert "Validation of a classifier" in made.read_text(encoding="utf-8")
    with pytest.raises(NotFound, match="penguins"):
        workspace.new_validation("penguin", tmp_path / "other.ipynb")
    known = "There is: classification, regression, unsupervised, penguins"
    with pytest.raises(NotFound, match=f'no task or service "foo". {known}'):
        workspace.new_validation("foo")
    assert all(task in VERBS["new-validation"].help for task in TASKS)
