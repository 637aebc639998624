from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from models import classifier

from nbdeploy.errors import DiskFailed, HomeUnavailable, NotFound, ServiceFailed, WrongUse
from nbdeploy.homes import private, write_whole, written_once
from nbdeploy.run import tokens
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


def test_a_file_is_written_whole_and_on_the_disk_or_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F23."""
    path = tmp_path / "options.json"
    synced: list[str] = []
    real = os.fsync

    def noted(handle: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(path, b"old", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"old", 0o600)
    assert synced == ["file", "folder"]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                write_whole(path, b"new")
        assert [item.name for item in tmp_path.iterdir()] == ["options.json"]
        assert path.read_bytes() == b"old"


def test_of_several_makers_of_a_secret_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "home" / "registry.key"
    made = [bytes([number]) * 32 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        read = set(pool.map(lambda content: written_once(path, content), made))
    assert len(read) == 1
    assert read <= set(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["registry.key"]


def test_a_token_file_that_was_emptied_lets_nobody_in(tmp_path: Path) -> None:
    """F49: the token of nobody would be that of everybody."""
    folder = tmp_path / "penguins"
    assert tokens.ensure(folder) == tokens.ensure(folder) == tokens.read(folder, "penguins")
    (folder / tokens.FILE).write_bytes(b"\n")
    with pytest.raises(ServiceFailed, match=r"penguins: its token file .* is empty; remove that file"):
        tokens.ensure(folder)
    with pytest.raises(ServiceFailed, match="is empty"):
        tokens.read(folder, "penguins")


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
