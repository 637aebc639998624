"""One fixture makes the world: homes of its own for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nbdeploy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the test's own folder, also for the processes it starts; never the user's."""
    monkeypatch.setenv("NBDEPLOY_HOME", str(tmp_path / "nbdeploy"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")


@pytest.fixture
def settings(tmp_path: Path, _homes: None) -> Settings:
    return Settings.load(tmp_path)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failed promise."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line("skipped tests are not accepted in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
