"""The Compose file: valid, on loopback alone, hardened, and every file it names is there or the user's to make."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for
from keep_world import World, manifest
from monitoring import program

from nbdeploy.errors import DiskFailed, Refused, WrongUse
from nbdeploy.homes import sync_folder
from nbdeploy.run.compose import PORTS
from nbdeploy.templates import template
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.settings import Settings

pytestmark = pytest.mark.usefixtures("no_engine")

IMAGE = "registry.example.org/penguins:1.0.0"
WATCHERS = ["alertmanager", "grafana", "prometheus"]


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def exported(world: World, folder: Path, name: str = "penguins") -> dict[str, Any]:
    Workspace(world.settings).export(name, compose=folder, image=IMAGE)
    found: dict[str, Any] = yaml.safe_load((folder / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize("name", ["penguins", "7_of_9", "grafana", "a" * 63])
def test_the_file_is_valid_and_names_the_service_once(world: World, tmp_path: Path, name: str) -> None:
    world.publish(manifest(name))
    document = exported(world, tmp_path / "out", name)
    schema = get_builtin_schema("vendor.compose-spec")
    problems = [error.message for error in validator_for(schema)(schema).iter_errors(document)]
    assert problems == []
    assert len(document["services"]) == 4
    assert set(WATCHERS) < set(document["services"])
    readme = (tmp_path / "out" / "README.md").read_text()
    assert not re.findall(r"@[A-Z_]+@", readme)
    assert f"nbdeploy token {name} > secrets/token" in readme


def test_nothing_listens_beyond_loopback_and_nobody_may_more_than_needed(world: World, tmp_path: Path) -> None:
    world.publish()
    services = exported(world, tmp_path / "out")["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert not {"privileged", "network_mode", "pid"} & service.keys()
        assert "@" not in service["image"]
        assert not service["image"].endswith(":latest")
        assert re.search(r":[\w.-]+$", service["image"])
    ports = [port.split(":")[1] for service in services.values() for port in service["ports"]]
    assert len(set(ports)) == len(ports)
    assert {str(port) for port in PORTS.values()} < set(ports)


def test_every_file_that_is_mounted_is_there_and_secrets_are_the_users(world: World, tmp_path: Path) -> None:
    world.publish()
    folder = tmp_path / "out"
    document = exported(world, folder)
    mounts = [mount for service in document["services"].values() for mount in service["volumes"]]
    here = [mount for mount in mounts if mount.startswith("./")]
    assert len(here) == 6
    for mount in here:
        source, _, mode = mount.split(":")
        assert (folder / source).is_file(), mount
        assert mode == "ro"
    named = {mount.partition(":")[0] for mount in mounts if not mount.startswith("./")}
    assert named == set(document["volumes"])
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in document["services"].values()
        for secret in service.get("secrets", ())
    }
    assert used == set(document["secrets"])
    assert not (folder / "secrets").exists()
    for name in used:
        assert document["secrets"][name] == {"file": f"./secrets/{name}"}
        assert f"secrets/{name}" in (folder / "README.md").read_text()


def test_prometheus_asks_for_the_service_by_a_name_it_answers_to(world: World, tmp_path: Path) -> None:
    world.publish(manifest("b_7"))
    folder = tmp_path / "out"
    services = exported(world, folder, "b_7")["services"]
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    assert services[host]["environment"]["NBDEPLOY_ALLOWED_HOSTS"] == host
    assert services[host]["ports"][0].endswith(f":{port}")
    assert job["static_configs"][0]["labels"] == {"service": "b_7"}
    token = job["authorization"]["credentials_file"]
    assert {secret["target"] for secret in services["prometheus"]["secrets"]} == {token}
    assert services[host]["environment"]["NBDEPLOY_TOKEN_FILE"] == token
    (target,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert target.partition(":")[0] in services
    for name in ("prometheus_rules.yml", "grafana/grafana_dashboard.json"):
        assert (folder / name).read_bytes() == template(name.rpartition("/")[2]).read_bytes()


def test_grafana_finds_datasource_and_dashboard_where_they_are_mounted(world: World, tmp_path: Path) -> None:
    world.publish()
    folder = tmp_path / "out"
    services = exported(world, folder)["services"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    provider = yaml.safe_load((folder / "grafana/dashboards.yml").read_text())["providers"][0]
    assert mounts["./grafana/grafana_dashboard.json"].startswith(f"{provider['options']['path']}/")
    (source,) = yaml.safe_load((folder / "grafana/datasource.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["isDefault"] is True
    assert json.loads((folder / "grafana/grafana_dashboard.json").read_text())["uid"] == "nbdeploy"


def test_promtool_takes_the_configuration_and_the_rules(world: World, tmp_path: Path) -> None:
    world.publish()
    folder = tmp_path / "out"
    exported(world, folder)
    for words in (("config", "--syntax-only", "prometheus.yml"), ("rules", "prometheus_rules.yml")):
        done = subprocess.run(
            [program("promtool"), "check", *words], capture_output=True, text=True, check=False, cwd=folder, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_the_next_version_keeps_the_secrets_and_refuses_other_changes(world: World, tmp_path: Path) -> None:
    world.publish()
    folder = tmp_path / "out"
    exported(world, folder)
    (folder / "secrets").mkdir(mode=0o700)
    (folder / "secrets" / "token").write_text("mine")
    world.publish()
    again = exported(world, folder)
    assert again["services"]["penguins"]["labels"]["io.nbdeploy.version"] == "1.0.1"
    assert (folder / "secrets" / "token").read_text() == "mine"
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert "secrets" not in (folder / "SHA256SUMS").read_text()
    (folder / "alertmanager.yml").write_text("mine")
    with pytest.raises(Refused, match="changed since"):
        exported(world, folder)
    assert (folder / "secrets" / "token").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_it_needs_an_image_that_stays(world: World, tmp_path: Path) -> None:
    world.publish()
    with pytest.raises(WrongUse, match=r"export penguins:1\.0\.0 --compose .* --image registry"):
        Workspace(world.settings).export("penguins", compose=tmp_path / "out")


@pytest.mark.parametrize("stuck", ["secrets", "out"])  # what cannot be put back
def test_secrets_that_could_not_be_put_back_are_not_removed_and_it_is_said_where_they_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    world.publish()
    folder = tmp_path / "out"
    exported(world, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "token").write_text("mine")
    world.publish()
    real, moved = Path.rename, list[str]()

    def failing(path: Path, target: Path) -> Path:
        back = len(moved) >= 2  # the old folder has stepped aside, and its secrets are in the new one
        moved.append(path.name)
        if back and (stuck == "secrets" or path.name != "secrets"):
            raise OSError(errno.EIO, "bad disk")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(DiskFailed, match="bad disk") as caught:
            exported(world, folder)
    (token,) = tmp_path.glob(".out.export/*/secrets/token")
    assert token.read_text() == "mine"
    assert str(token.parent if stuck == "secrets" else token.parent.parent) in str(caught.value)
    assert "Nothing was changed" not in str(caught.value)
    exported(world, folder)
    assert (folder / "secrets" / "token").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("done", range(4))  # of three renames
def test_an_export_that_is_killed_loses_nothing_and_the_next_one_finds_all(
    world: World, tmp_path: Path, done: int
) -> None:
    world.publish()
    folder = tmp_path / "out"
    exported(world, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "token").write_text("mine")
    world.publish()
    child = os.fork()
    if child == 0:
        try:
            _die_after(done)
            exported(world, folder)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert exported(world, folder)["services"]["penguins"]["labels"]["io.nbdeploy.version"] == "1.0.1"
    assert (folder / "secrets" / "token").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def _die_after(renames: int) -> None:
    """As by SIGKILL: nothing is tidied up."""
    real, done = Path.rename, list[Path]()

    def rename(path: Path, target: Path) -> Path:
        if len(done) == renames:
            os._exit(9)
        done.append(path)
        return real(path, target)

    setattr(Path, "rename", rename)  # noqa: B010
    setattr(shutil, "rmtree", lambda *_, **__: os._exit(9))  # noqa: B010


def test_a_folder_that_cannot_be_replaced_as_a_whole_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    (tmp_path / "out" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "in")
    for folder in (Path(), Path("..", "in"), tmp_path / "out" / "in"):
        with pytest.raises(Refused, match="is where you are"):
            exported(world, folder)
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "disk")
    Path("disk").mkdir()
    with pytest.raises(Refused, match=r"A disk is mounted at disk, .* name a folder inside it"):
        exported(world, Path("disk"))
    exported(world, Path("..", "beside"))
    assert (tmp_path / "out" / "beside" / "compose.yaml").exists()


def test_a_folder_whose_place_is_not_yet_on_the_disk_is_said_to_be_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    folder = tmp_path / "out"

    def failing(path: Path) -> None:
        if path == folder.parent:
            raise OSError(errno.EIO, "bad disk", str(path))
        sync_folder(path)

    with monkeypatch.context() as patch:
        patch.setattr("nbdeploy.keep.handout.sync_folder", failing)
        with pytest.raises(DiskFailed, match="out is written, but a power cut could still undo it"):
            exported(world, folder)
    assert (folder / "SHA256SUMS").exists()
