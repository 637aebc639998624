"""A folder for Prometheus: everything in it is usable as it is, and nothing of the user's is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from monitoring import program, prometheus

from nbdeploy.cli import main
from nbdeploy.errors import DiskFailed, NotFound, NotRunning, Refused, Unsupported, WrongUse
from nbdeploy.run.scrape import AS_THEY_ARE, CONFIG, Scrape, scrape
from nbdeploy.runtime.exposition import COUNTERS, GAUGES, LATENCY
from nbdeploy.runtime.state import State
from nbdeploy.templates import template
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.settings import Settings

TESTS = Path(__file__).parent
GUIDE = (TESTS.parent / "docs" / "guide.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("## Prometheus and Grafana")[2].partition("\n## ")[0]
RULES = template("prometheus_rules.yml").read_text(encoding="utf-8")


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


def test_a_file_in_the_place_of_the_folder_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").touch()
    with pytest.raises(WrongUse, match=r"prometheus\.yml is a file, .* name a folder"):
        scrape("penguins", home / "penguins", tmp_path / "prometheus.yml")


def test_a_service_without_a_port_says_what_to_do(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='Did you mean "penguins"'):
        scraped(home, "penguin", tmp_path)
    (home / "other").mkdir()
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
    groups = yaml.safe_load(RULES)["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    cases = yaml.safe_load((TESTS / "prometheus_rules_test.yml").read_text())["tests"]
    told = [one for case in cases for one in case.get("alert_rule_test", ())]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert {one["alertname"] for one in told if one.get("exp_alerts")} == alerts
    assert {one["alertname"] for one in told if not one.get("exp_alerts")} == alerts
    asked = {one["expr"] for case in cases for one in case.get("promql_expr_test", ())}
    assert asked == {rule["record"] for rule in rules if "record" in rule}


@pytest.mark.thorough
def test_promtool_finds_every_rule_doing_what_its_case_says() -> None:
    command = [program("promtool"), "test", "rules", "prometheus_rules_test.yml"]
    tested = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=TESTS, env={**os.environ, "TZ": "UTC"}
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_guide_lists_every_metric_with_its_type_and_labels() -> None:
    told = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(nbdeploy_\w+)` \| (\w+) \| ([^|]*) \|", SECTION, re.MULTILINE)
    }
    kinds = (("counter", COUNTERS), ("gauge", GAUGES), ("histogram", (LATENCY,)))
    there = {family.name: (kind, family.labels) for kind, families in kinds for family in families}
    there["nbdeploy_info"] = ("gauge", ("name", *there["nbdeploy_info"][1]))
    assert told == there


def test_the_guide_lists_every_alert() -> None:
    assert set(re.findall(r"`(Nbdeploy\w+)`", SECTION)) == set(re.findall(r"alert: (\w+)", RULES))


def test_rules_and_dashboard_ask_for_metrics_that_are_there() -> None:
    known = {family.name for family in (*COUNTERS, *GAUGES)} | {
        f"{LATENCY.name}_{part}" for part in ("bucket", "count", "sum")
    }
    board = json.loads(template("grafana_dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))
    expressions = " ".join(rule["expr"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"])
    named = set(re.findall(r"(?<![\w:])nbdeploy_\w+(?![\w:])", f"{asked} {expressions}"))
    assert named - known == set()
    assert known - set(re.findall(r"nbdeploy_\w+", asked)) == {
        "nbdeploy_info",
        f"{LATENCY.name}_count",
        f"{LATENCY.name}_sum",
    }


@pytest.mark.slow
def test_the_guide_s_commands_do_what_it_says(settings: Settings, tmp_path: Path) -> None:
    folder = settings.services / "penguins"
    folder.mkdir(parents=True)
    State("penguins", "ready", "now", url="http://127.0.0.1:3000").write(folder)
    (folder / "token").write_text("secret")
    *commands, last = re.findall(r"^    (\S.*)$", SECTION, re.MULTILINE)
    assert len(commands) == 2
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program("promtool")
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True, cwd=tmp_path, env={**os.environ, "PATH": path})
    ends = last.replace("127.0.0.1:9090", "127.0.0.1:0").split()
    with prometheus(tmp_path / "monitoring") as server:
        assert server.command[1:3] == [f"--config.file={tmp_path / 'monitoring' / CONFIG}", ends[2]]
        (job,) = yaml.safe_load(server.get("status/config")["yaml"])["scrape_configs"]
        groups = server.get("rules")["groups"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("nbdeploy-penguins", ["127.0.0.1:3000"])
    assert job["authorization"] == {"type": "Bearer", "credentials_file": str(folder / "token")}
    assert [group["name"] for group in groups] == ["nbdeploy", "nbdeploy-alerts"]
