from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from models import classifier

from nbdeploy.errors import DiskFailed, HomeUnavailable, NotFound, WrongUse
from nbdeploy.homes import private
from nbdeploy.settings import Settings
from nbdeploy.turns import turn
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_every_folder_that_is_made_is_the_users_alone(tmp_path: Path) -> None:
    folder = private(tmp_path / "home" / "services" / "penguins")
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.parents[:2])] == [0o700] * 3


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    private(shared / "mine")
    assert shared.stat().st_mode & 0o777 == 0o755


def test_a_home_that_cannot_be_written_is_named_with_its_variable(settings: Settings, tmp_path: Path) -> None:
    """F24."""
    (tmp_path / "file").write_text("no folder")
    fitted = classifier()
    broken = Workspace(replace(settings, home=tmp_path / "file" / "home"))
    with pytest.raises(HomeUnavailable, match=r"bundling penguins failed at .*/file/home.*NBDEPLOY_HOME"):
        broken.bundle(fitted.model, name="penguins", sample=fitted.X)
    with (
        pytest.raises(HomeUnavailable, match="changing penguins failed"),
        turn(tmp_path / "file" / "services" / "penguins", print),
    ):
        pass


def test_an_export_that_cannot_be_written_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    """F24."""
    workspace, fitted = Workspace(settings), classifier()
    workspace.publish(workspace.bundle(fitted.model, name="penguins", sample=fitted.X))
    with pytest.raises(DiskFailed, match=r"exporting penguins:1\.0\.0 failed at .*/nowhere/x\.bento"):
        workspace.export("penguins", "1.0.0", tmp_path / "nowhere" / "x.bento")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(NotFound, match="There is no file"):
        workspace.import_bundle(tmp_path / "nowhere.bento")


@pytest.mark.parametrize("variable", ["NBDEPLOY_HOME", "BENTOML_HOME"])
def test_f48_a_home_that_is_no_text_here_is_refused_at_once(tmp_path: Path, variable: str) -> None:
    with pytest.raises(WrongUse, match="PYTHONUTF8=1"):
        Settings.load(tmp_path, {variable: "/home/\udcc3\udca9"})
