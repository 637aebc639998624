from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.homes import private

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
