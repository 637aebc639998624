"""Our bundles to BentoML itself: list, get, serve, export, import, delete and the context of containerize."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from keep_world import World

from nbdeploy.keep.archive import export
from nbdeploy.keep.arrival import import_bundle
from nbdeploy.keep.recover import recover
from nbdeploy.settings import Settings

if TYPE_CHECKING:
    from typing import Any


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def bentoml(*arguments: str, home: Path | None = None) -> str:
    environment = os.environ | ({"BENTOML_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "bentoml", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


def test_publishing_does_not_import_bentoml(world: World, tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import keep_world
from nbdeploy.settings import Settings
root = Path({str(tmp_path)!r})
world = keep_world.World(Settings(home=root / "nb", bentoml_home=root / "b"), root)
world.publish()
world.publish()
heavy = [name for name in ("bentoml", "_bentoml_sdk", "pandas", "numpy", "pydantic", "sklearn") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_bento_yaml_has_the_shape_of_bentomls_own(world: World) -> None:
    raw = yaml.safe_load((world.publish().bundle / "bento.yaml").read_bytes())
    assert list(raw) == [
        "service",
        "name",
        "version",
        "bentoml_version",
        "creation_time",
        "labels",
        "models",
        "entry_service",
        "services",
        "envs",
        "schema",
        "args",
        "spec",
        "image",
    ]
    assert raw["image"]["base_image"] == "python:3.11-slim"
    assert [route["route"] for route in raw["schema"]["routes"]] == ["/predict", "/predict_proba"]


@pytest.mark.slow
def test_bentoml_lists_gets_exports_and_deletes_our_versions(world: World, tmp_path: Path) -> None:
    world.publish()
    world.publish()
    assert [item["tag"] for item in json.loads(bentoml("list", "-o", "json"))] == ["penguins:1.0.1", "penguins:1.0.0"]
    assert yaml.safe_load(bentoml("get", "penguins:latest", "-o", "yaml"))["version"] == "1.0.1"
    bentoml("export", "penguins:1.0.0", str(tmp_path / "theirs.bento"))
    other = World(Settings(home=tmp_path / "nb2", bentoml_home=tmp_path / "b2"), tmp_path)
    made = import_bundle(tmp_path / "theirs.bento", other.registry, tmp_path / "b2")
    assert made.digest == world.registry.get("penguins", "1.0.0").digest
    bentoml("delete", "--yes", "penguins:1.0.0")
    assert set(recover(world.registry, world.settings.bentoml_home).corrupt) == {"penguins:1.0.0"}


@pytest.mark.thorough
def test_bentoml_imports_and_loads_what_we_export(world: World, tmp_path: Path) -> None:
    world.publish()
    file = export(world.registry, "penguins", None, tmp_path / "ours.bento")
    bentoml("import", str(file), home=tmp_path / "theirs")
    listed = json.loads(bentoml("list", "-o", "json", home=tmp_path / "theirs"))
    assert [item["tag"] for item in listed] == ["penguins:1.0.0"]
    script = "import bentoml; print(bentoml.load('penguins:1.0.0').inner().predict([[1, 2], [3]]))"
    environment = os.environ | {"BENTOML_HOME": str(tmp_path / "theirs")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[2, 1]"
    with tarfile.open(file) as tar:
        assert "./bento.yaml" in tar.getnames()


@pytest.mark.slow
def test_bentoml_makes_an_image_context_without_compilers(world: World) -> None:
    world.publish()
    script = """
import bentoml
from pathlib import Path
from bentoml._internal.container import construct_containerfile
with construct_containerfile(bentoml.get("penguins:1.0.0")) as (context, dockerfile):
    text = Path(dockerfile).read_text()
    assert Path(context, "env/docker/entrypoint.sh").is_file()
    assert Path(context, "env/python/requirements.txt").read_text() == "bentoml==1.4.39\\nscikit-learn==1.9.0\\n"
print(text)
"""
    text = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "FROM python:3.11-slim" in text
    assert "build-essential" not in text
    assert "apt-get" not in text


@pytest.mark.slow
def test_what_bentoml_finds_is_what_it_builds_itself(world: World, tmp_path: Path) -> None:
    """The fields of a bento.yaml written by BentoML's own build, so that a new release shows here first."""
    world.publish()
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "service.py").write_bytes(
        (world.registry.get("penguins").src / "nbdeploy_runtime" / "service.py")
        .read_bytes()
        .replace(b"parents[1]", b"parent")
    )
    (tmp_path / "context" / "manifest.json").write_text('{"name": "penguins"}')
    script = f"""
import bentoml
from bentoml._internal.bento import BentoStore
bento = bentoml.bentos.build("service:ModelService", name="penguins", version="1.0.0", include=["*"],
    build_ctx={str(tmp_path / "context")!r}, python=dict(packages=["bentoml==1.4.39"], lock_packages=False),
    _bento_store=BentoStore({str(tmp_path / "store")!r}))
print(bento.path)
"""
    (tmp_path / "store").mkdir()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    theirs = yaml.safe_load(Path(done.stdout.split()[-1], "bento.yaml").read_bytes())
    ours = yaml.safe_load((world.registry.get("penguins").bundle / "bento.yaml").read_bytes())
    assert list(ours) == list(theirs)
    assert _fields(ours["image"]) == _fields(theirs["image"])
    assert _fields(ours["services"][0]) == _fields(theirs["services"][0])
    assert _fields(ours["schema"]["routes"][0]) == _fields(theirs["schema"]["routes"][0])


def _fields(raw: dict[str, Any]) -> list[str]:
    return sorted(raw)
