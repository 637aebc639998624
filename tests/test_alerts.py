"""`alerts NAME` and `monitor NAME --watch`, as users have them: one set of words in magic, command and Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from IPython.core.error import UsageError
from models import classifier, frame
from recording import a_shell
from traffic import Past
from watched import receiving, wait_for

from nbdeploy import cli, magics
from nbdeploy.errors import DeliveryFailed, NotFound, Refused, WrongUse
from nbdeploy.runtime.records import line
from nbdeploy.settings import Settings
from nbdeploy.watch.axis import floored
from nbdeploy.watch.ledger import Ledger
from nbdeploy.watch.watcher import watching
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)
NOW = floored(datetime.now(UTC), HOUR) - HOUR  # a quiet hour ago: the turn of one may come between here and a test


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A published service with a day of traffic, of which two hours failed; nothing runs."""
    home = tmp_path_factory.mktemp("alerts")
    workspace = Workspace(Settings(home=home / "home", bentoml_home=home / "bentoml"))
    rows = frame(300)
    model = classifier().model
    bundle = workspace.bundle(model, name="birds", sample=rows, target=None)
    past = Past(workspace.settings.services, workspace.publish(bundle), model)
    for hour in range(24, 0, -1):
        past.ask(rows.head(100), NOW - hour * HOUR, NOW - (hour - 1) * HOUR, batch=5)
        if hour in {20, 5}:
            past.refuse(30, NOW - hour * HOUR, status=500, code="model_failed")
    return workspace


@pytest.fixture
def workspace(made: Workspace) -> Iterator[Workspace]:
    """The same with alerts of its own."""
    yield made
    for path in (made.settings.services / "birds" / "alerts").glob("*"):
        path.unlink()


def configured(workspace: Workspace, **table: Any) -> Workspace:
    return Workspace(replace(workspace.settings, alerts=table))


def test_a_rule_is_previewed_over_the_past_before_it_is_switched_on(workspace: Workspace) -> None:
    seen = workspace.alerts("birds", when="error_rate>0.05", every="1h", preview=True, last="2d")
    told = seen.to_dict()
    assert told["text"].startswith("would have fired twice since ")
    assert [item["began"] for item in told["firings"]] == [(NOW - 20 * HOUR).isoformat(), (NOW - 5 * HOUR).isoformat()]
    assert all(
        datetime.fromisoformat(item["ended"]) - datetime.fromisoformat(item["began"]) == HOUR
        for item in told["firings"]
    )
    assert "error_rate>0.05" not in [rule["name"] for rule in workspace.alerts("birds").to_dict()["rules"]]


def test_every_rule_that_is_added_shows_its_preview_and_is_kept_with_the_name(workspace: Workspace) -> None:
    added = workspace.alerts("birds", when="error_rate>0.05", every="1h", rule="failing", last="1h")
    assert (added.to_dict()["added"], added.to_dict()["replaced"]) == (True, False)
    again = workspace.alerts("birds", when="error_rate>0.5", every="1h", rule="failing", rows=0).to_dict()
    assert (again["replaced"], again["rule"]["rows"]) == (True, 0)
    rules = {rule["name"]: rule for rule in Workspace(workspace.settings).alerts("birds").to_dict()["rules"]}
    assert (rules["failing"]["when"], rules["failing"]["source"]) == ("error_rate>0.5", "notebook")
    assert list(rules) == ["down", "degraded", "unlogged", "errors", "drift", "failing"]


def test_a_preview_of_short_windows_looks_back_as_far_as_it_can(workspace: Workspace) -> None:
    seen = workspace.alerts("birds", when="error_rate>0.05", every="1s", preview=True).to_dict()
    assert 0 < seen["windows"] + sum(seen["not_computable"].values()) <= 4_901


def test_a_preview_reads_rows_only_where_a_rule_is_about_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = workspace.alerts("birds", when="missing@bill>0.01", every="1h", preview=True, last="6h").to_dict()
    assert seen["text"].startswith("would have fired once")
    monkeypatch.setattr("nbdeploy.watching.Look.health", None)
    assert workspace.alerts("birds", when="p99_ms>1", every="1h", preview=True).to_dict()["windows"] > 20


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ({"when": "drift@masss>1"}, 'no column "masss". Did you mean "mass"'),
        ({"when": "eror_rate>1"}, 'Did you mean "error_rate"'),
        ({"when": "error_rate>5"}, "error_rate is a share between 0 and 1; 5 % is 0.05"),
        ({"when": "error_rate>nan"}, '"nan" is no finite number'),
        ({"when": "p99_ms>9", "clear": "p99_ms<-inf"}, '"-inf" is no finite number'),
        ({"when": "p99_ms>1", "send": ["slack"]}, 'no channel .* "slack"'),
        ({"when": "p99_ms>1", "send": "slack"}, 'no channel .* "slack"'),
        ({"when": "p99_ms>1", "send": ["https://hooks.example.com/s3cret"]}, "is an address"),
        ({"when": "p99_ms>1", "every": "soon"}, "is no span"),
        ({"when": "p99_ms>1", "windows": 0}, "windows = 0 .* no whole number from 1"),
        ({"when": "p99_ms>1", "remove": "x"}, "one thing at a time: --when or --remove"),
        ({"preview": True}, "--preview is of a rule"),
        ({"remove": "drifd"}, 'no rule "drifd". Did you mean "drift"'),
        ({"test": "opps"}, 'no channel "opps"'),
        ({"test": "notebook"}, "this one"),
    ],
)
def test_words_that_make_no_sense_are_refused_with_what_was_meant(
    workspace: Workspace, words: dict[str, Any], meant: str
) -> None:
    with pytest.raises((WrongUse, NotFound), match=meant) as caught:
        configured(workspace, channels={"ops": "https://hooks.example.com/s3cret"}).alerts("birds", **words)
    assert "s3cret" not in str(caught.value)


def test_a_name_nobody_knows_is_refused(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match=r'no service "bird"\. Did you mean "birds"'):
        workspace.alerts("bird")
    with pytest.raises(NotFound):
        workspace.watch("bird")


def test_rules_are_removed_built_in_ones_switched_off_and_those_of_the_settings_stay(workspace: Workspace) -> None:
    with_own = configured(workspace, rules={"slow": {"when": "p99_ms>1000"}})
    with_own.alerts("birds", when="p99_ms>5", rule="mine")
    for rule in ("mine", "drift"):
        told = with_own.alerts("birds", remove=rule)
        assert f"removed: {rule}" in str(told)
    assert [rule["name"] for rule in with_own.alerts("birds").to_dict()["rules"]] == [
        *("down", "degraded", "unlogged", "errors", "slow")
    ]
    with pytest.raises(WrongUse, match="stands in the settings"):
        with_own.alerts("birds", remove="slow")
    with_own.alerts("birds", when="drifted_columns>1", rule="drift")
    assert "drift" in [rule["name"] for rule in with_own.alerts("birds").to_dict()["rules"]]


def test_a_channel_is_tested_without_the_queue(workspace: Workspace) -> None:
    with receiving("200") as other:
        with_ops = configured(workspace, channels={"ops": other.url}, allow=["127.0.0.1"])
        told = with_ops.alerts("birds", test="ops")
        assert other.bodies[0]["test"] is True
        assert "s3cret" not in str(told) + json.dumps(told.to_dict())
        with pytest.raises(DeliveryFailed, match="not of the public internet"):
            configured(workspace, channels={"ops": other.url}).alerts("birds", test="ops")


def test_where_nobody_watches_the_list_judges_and_says_so(workspace: Workspace) -> None:
    workspace.alerts("birds", when="requests>1", every="3h", rule="busy")
    listed = workspace.alerts("birds")
    assert "1 firing" in str(listed)
    assert "alert of (UTC)" in str(listed)
    assert "fires:" not in str(listed), "what was told is a table with its times"
    tables = str(listed).partition("\n\n  •")[0].splitlines()
    assert max(map(len, tables)) <= 105
    assert "not computable now, no requests in this window: errors" in str(listed)
    assert "1 message waits for log since " in str(listed)
    assert "UTC: nobody delivers" in str(listed)
    assert "nobody watches" in str(listed)
    assert listed.to_dict()["watched"] is None
    with watching(workspace.settings.services / "birds" / "alerts", "birds", 60):
        watched = workspace.alerts("birds").to_dict()
        assert watched["watched"]["pid"] == os.getpid()
        with pytest.raises(Refused, match=f"process {os.getpid()}"):
            workspace.watch("birds")


def test_f24_where_nothing_can_be_kept_the_list_is_shown_as_it_was(
    workspace: Workspace, read_only: Callable[[], None]
) -> None:
    workspace.alerts("birds", when="requests>1", every="3h", rule="busy")
    workspace.alerts("birds")
    with watching(workspace.settings.services / "birds" / "alerts", "birds", 60):
        pass
    read_only()
    listed = workspace.alerts("birds")
    assert "1 firing" in str(listed)
    assert "nothing can be judged now" in str(listed)
    assert "Read-only file system" in str(listed)
    assert listed.to_dict()["watched"] is None


def test_the_page_of_a_service_shows_what_fires(workspace: Workspace) -> None:
    workspace.alerts("birds", when="requests>1", every="3h", rule="busy")
    workspace.alerts("birds")
    health = workspace.monitor("birds", last="6h", every="1h")
    assert [alert["rule"] for alert in health.to_dict()["alerts"]] == ["busy"]
    assert "busy" in health.text


# the front ends


@pytest.fixture
def shell(workspace: Workspace, tmp_path: Path) -> Iterator[InteractiveShell]:
    with a_shell(tmp_path / "ipython") as made_:
        magics.load(made_, lambda: workspace)
        yield made_
        magics.unload(made_)


def run(shell: InteractiveShell, cell: str) -> Any:
    result = shell.run_cell(cell, store_history=False)
    result.raise_error()
    return result.result


def test_magic_and_command_say_the_same(
    shell: InteractiveShell, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    words = 'alerts birds --when "error_rate>0.05" --every 1h --windows 1 --rows 5 --repeat 2h --rule a --send log --preview'
    seen = run(shell, f"_x = %deploy {words}\n_x")
    capsys.readouterr()
    code = cli.main([*words.replace('"', "").split(), "--json"], lambda: workspace)
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    for key in ("rule", "firings", "added"):
        assert told[key] == seen.to_dict()[key]
    assert told["rule"]["rows"] == 5
    with pytest.raises(UsageError, match='Did you mean "error_rate"'):
        run(shell, "%deploy alerts birds --when eror_rate>1")


def test_alerts_for_the_notebook_are_shown_once_by_the_next_deploy(
    shell: InteractiveShell, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.alerts("birds", when="requests>1", every="3h", rule="busy")
    workspace.alerts("birds")
    assert Ledger(workspace.settings.services / "birds" / "alerts").read().post("notebook").waiting
    for words, shown in (("ps --json", 0), ("ps;", 0), ("ps", 1), ("ps", 0), ("versions birds", 0)):
        run(shell, f"%deploy {words}")
        assert capsys.readouterr().out.count("Alerts since you last looked: birds") == shown
    assert not Ledger(workspace.settings.services / "birds" / "alerts").read().post("notebook").waiting


def test_a_ledger_that_cannot_be_read_is_told_and_hinders_no_line(
    shell: InteractiveShell, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workspace.settings.services / "birds" / "alerts" / "ledger.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    run(shell, "%deploy versions birds")
    out = capsys.readouterr().out
    assert "Alerts that cannot be read" in out
    assert "1.0.0" in out
    path.rmdir()
    path.write_bytes(b"0badc0de {}\n" + line(b'{"looked": {}}') + line(b'{"of a later nbdeploy": 1}'))
    assert workspace.alerts("birds").to_dict()["damaged"] == 2
    assert "cannot be read" in str(workspace.alerts("birds"))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--watch --json", "--json prints one value"),
        ("--watch --last 7d", "--last is of the page"),
        ("--interval 5", "--interval is of --watch"),
        ("--watch --interval soon", "like 30m, 1h, 7d or 2w"),
        ("--watch --interval 0", "like 2.5 (seconds), 10s or 1m"),
    ],
)
def test_words_of_the_page_and_of_the_watch_do_not_mix(
    words: str, meant: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["monitor", "birds", *words.split()], lambda: workspace) == 2
    assert meant in capsys.readouterr().err


def test_the_list_reads_without_a_log_of_rows(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["alerts", "birds"], lambda: workspace) == 0
    out = capsys.readouterr().out
    assert "Alerts of birds" in out
    assert "5m windows, from 20 requests on, over at <=0.04" in out


# with a service that runs


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """What is begun is ended, also where a test fails in between."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.thorough
def test_a_watcher_without_a_kernel_tells_what_happens_to_a_real_service(
    settings: Settings, tmp_path: Path, ends: ExitStack
) -> None:
    """Traffic fires a rule; the watcher is killed and begun again; the service dies, and is removed."""
    from sklearn.linear_model import LinearRegression

    workspace = Workspace(settings)
    X = np.arange(12.0).reshape(6, 2)
    service = workspace.deploy(LinearRegression().fit(X, X.sum(axis=1)), name="sums", sample=X)
    ends.callback(stop_all, workspace)
    with receiving("200") as other:
        (tmp_path / "nbdeploy.toml").write_text(
            f'[alerts]\nallow = ["127.0.0.1"]\n[alerts.channels]\nops = "{other.url}"\n'
            '[alerts.rules.busy]\nwhen = "requests>0"\nevery = "1s"\nrepeat = "1h"\n',
            encoding="utf-8",
        )
        watcher = begun(tmp_path, ends)
        service.predict(X)
        wait_for(lambda: any(alert["rule"] == "busy" for body in other.bodies for alert in body["alerts"]), 60)
        ledger = Ledger(settings.services / "sums" / "alerts")
        wait_for(lambda: ledger.read().post("ops").sent, 60)  # killed before that is noted, it would come again
        watcher.kill()
        watcher.communicate(timeout=20)
        watcher = begun(tmp_path, ends)
        (state,) = workspace.services()
        assert state.pid is not None
        os.kill(state.pid, signal.SIGKILL)
        wait_for(lambda: any(alert["rule"] == "down" for body in other.bodies for alert in body["alerts"]), 60)
        workspace.remove("sums")
        out, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0
    assert "sums is dead" in out
    assert out.splitlines()[-1].endswith("sums was removed; nothing is left to watch")
    alerts = [alert["id"] for body in other.bodies for alert in body["alerts"]]
    assert len(alerts) == len(set(alerts))
    assert "s3cret" not in out


def stop_all(workspace: Workspace) -> None:
    for one in workspace.services():
        workspace.stop(one.name)


def begun(folder: Path, ends: ExitStack) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nbdeploy", "monitor", "sums", "--watch", "--interval", "1s"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ends.enter_context(process)
    ends.callback(process.kill)
    assert process.stdout is not None
    assert "watching sums every 1 s; channels: notebook, log, ops" in process.stdout.readline()
    return process
