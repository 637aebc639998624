from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nbdeploy import templates
from nbdeploy.errors import Corrupt, NotFound

CHECKOUT = Path(__file__).parents[1]


def test_a_checkout_finds_its_templates() -> None:
    assert templates.template("model_card.md") == CHECKOUT / "templates" / "model_card.md"


def test_an_unknown_template_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match=r'Did you mean "model_card\.md"'):
        templates.template("model_crad.md")


@pytest.mark.parametrize("name", ["../pyproject.toml", "/etc/passwd", "../templates/../README.md"])
def test_nothing_outside_the_templates_is_given_f56(name: str) -> None:
    with pytest.raises(NotFound):
        templates.template(name)


def test_an_installation_without_templates_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_PACKAGE", tmp_path / "nbdeploy")
    with pytest.raises(Corrupt, match="install it again"):
        templates.template("model_card.md")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_wheel_holds_the_templates_and_finds_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    names = ["nbdeploy", "templates", "pyproject.toml", "README.md", "LICENSE"]
    for name in names:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    out = tmp_path / "dist"
    argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(out), str(source)]
    subprocess.run(argv, check=True, timeout=200, capture_output=True)
    (wheel,) = out.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = "from nbdeploy.templates import template; print(template('model_card.md'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(unpacked)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert Path(done.stdout.strip()) == unpacked / "nbdeploy" / "_templates" / "model_card.md"
    assert sorted(path.name for path in (unpacked / "nbdeploy" / "_templates").iterdir()) == sorted(
        path.name for path in (CHECKOUT / "templates").iterdir()
    )
