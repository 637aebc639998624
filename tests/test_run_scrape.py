"""A folder for Prometheus: everything in it is usable as it is, and nothing of the user's is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from monitoring import program

from nbdeploy.cli import main
from nbdeploy.errors import DiskFailed, NotRunning, Refused, Unsupported, WrongUse
from nbdeploy.run.scrape import AS_THEY_ARE, CONFIG, Scrape, scrape
from nbdeploy.runtime.state import State
from nbdeploy.templates import template
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.settings import Settings

TESTS = Path(__file__).parent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a user whose folder has blanks and quotes in its name."""
    for number, name in enumerate(("penguins", "churn")):
        folder = tmp_path / 'my "home' / name
        folder.mkdir(parents=True)
        State(name, "ready", "now", url=f"http://127.0.0.1:{3000 + number}").write(folder)
        (folder / "token").write_text("secret")
    return tmp_path / 'my "home'


def scraped(home: Path, name: str, folder: Path) -> Scrape:
    return scrape(name, home / name, folder)


def test_a_service_has_its_own_job_with_its_address_and_the_file_of_its_token(home: Path, tmp_path: Path) -> None:
    found = scraped(home, "penguins", tmp_path / "watch")
    assert list(found.written) == [CONFIG, *AS_THEY_ARE]
    text = (tmp_path / "watch" / CONFIG).read_text()
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["job_name"] == "nbdeploy-penguins"
    assert job["authorization"] == {"credentials_file": str(home / "penguins" / "token")}
    assert job["static_configs"] == [{"targets": ["127.0.0.1:3000"], "labels": {"service": "penguins"}}]
    assert "secret" not in text
    assert not re.search("@[A-Z]+@", text)
    assert json.loads(json.dumps(found.to_dict()))["jobs"] == ["nbdeploy-penguins"]
    assert "promtool check config" in str(found)


def test_another_service_is_added_and_one_that_is_there_stays(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "watch"
    scraped(home, "penguins", folder)
    (folder / "prometheus_rules.yml").write_text("groups: []\n")
    text = (folder / CONFIG).read_text().replace("scrape_interval: 15s", "scrape_interval: 5s  # mine")
    (folder / CONFIG).write_text(text)
    second = scraped(home, "churn", folder)
    assert (list(second.jobs), list(second.written)) == (["nbdeploy-penguins", "nbdeploy-churn"], [CONFIG])
    assert (folder / CONFIG).read_text().startswith(text)
    third = scraped(home, "churn", folder)
    assert list(third.written) == []
    assert "left as they were" in str(third)
    assert (folder / "prometheus_rules.yml").read_text() == "groups: []\n"


@pytest.mark.parametrize("text", ["global: {}\n", "scrape_configs: []\nglobal: {}\n", "- a\n", "not: [yaml\n"])
def test_a_configuration_that_cannot_be_added_to_is_left_alone(home: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(Refused, match="does not end in its list"):
        scraped(home, "penguins", tmp_path)
    assert (tmp_path / CONFIG).read_text() == text
    assert not (tmp_path / AS_THEY_ARE[0]).exists()


def test_a_service_without_a_port_says_what_to_do(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="nbdeploy serve other"):
        scraped(home, "other", tmp_path)
    State("penguins", "ready", "now", url="memory://penguins").write(home / "penguins")
    with pytest.raises(Unsupported, match="--launcher local"):
        scraped(home, "penguins", tmp_path)


def test_f24_a_folder_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskFailed, match="file"):
        scraped(home, "penguins", tmp_path / "file" / "watch")


def test_the_verb_says_what_to_run_next(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = settings.services / "penguins"
    folder.mkdir(parents=True)
    State("penguins", "ready", "now", url="http://127.0.0.1:3000").write(folder)
    assert main(["export", "penguins", "--prometheus", str(tmp_path / "watch")]) == 0
    assert f"prometheus --config.file={tmp_path / 'watch' / CONFIG}" in capsys.readouterr().out
    assert main(["export", "penguins", "--prometheus", str(tmp_path / "watch"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == []
    assert isinstance(Workspace(settings).export("penguins", prometheus=tmp_path / "watch"), Scrape)


def test_one_place_at_a_time_and_no_version(settings: Settings, tmp_path: Path) -> None:
    workspace = Workspace(settings)
    with pytest.raises(WrongUse, match="whichever version serves"):
        workspace.export("penguins:1.0.0", prometheus=tmp_path)
    with pytest.raises(WrongUse, match="one place at a time"):
        workspace.export("penguins", None, tmp_path / "x.bento", prometheus=tmp_path)  # type: ignore[call-overload]
    assert not list(tmp_path.glob("prometheus*"))


@pytest.mark.slow
def test_promtool_takes_the_folder_as_it_is(home: Path, tmp_path: Path) -> None:
    for name in ("penguins", "churn"):
        scraped(home, name, tmp_path / "watch")
    command = [program("promtool"), "check", "config", str(tmp_path / "watch" / CONFIG)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "17 rules found" in checked.stdout


def test_every_rule_has_a_case_where_it_fires_and_one_where_it_does_not() -> None:
    groups = yaml.safe_load(template("prometheus_rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    cases = yaml.safe_load((TESTS / "prometheus_rules_test.yml").read_text())["tests"]
    told = [one for case in cases for one in case.get("alert_rule_test", ())]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert {one["alertname"] for one in told if one.get("exp_alerts")} == alerts
    assert {one["alertname"] for one in told if not one.get("exp_alerts")} == alerts
    asked = {one["expr"] for case in cases for one in case.get("promql_expr_test", ())}
    assert asked == {rule["record"] for rule in rules if "record" in rule}


@pytest.mark.slow
def test_promtool_finds_every_rule_doing_what_its_case_says() -> None:
    command = [program("promtool"), "test", "rules", "prometheus_rules_test.yml"]
    tested = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=TESTS, env={**os.environ, "TZ": "UTC"}
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
