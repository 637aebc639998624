"""After a crash, a lost registry or a hand in the store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from keep_world import World, manifest, stage

from nbdeploy.errors import RegistryDamaged, Untrusted
from nbdeploy.keep.archive import export
from nbdeploy.keep.arrival import import_bundle
from nbdeploy.keep.recover import Recovery, recover
from nbdeploy.keep.registry import Registry
from nbdeploy.keep.store import remove
from nbdeploy.keep.trust import require_trusted
from nbdeploy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def mended(world: World, **options: dict[str, str]) -> Recovery:
    return recover(world.registry, world.settings.bentoml_home, **options)


def listed(world: World) -> list[tuple[str, bool, str]]:
    return [(item.version, item.live, item.state) for item in world.registry.versions("penguins")]


def test_where_all_is_well_nothing_is_done(world: World) -> None:
    world.publish()
    before = world.registry.events()
    found = mended(world)
    assert found.clean
    assert "everything is in order" in str(found)
    assert world.registry.events() == before


def test_a_fresh_home_needs_no_recovery(world: World) -> None:
    assert mended(world).clean


def test_a_lost_registry_is_rebuilt_from_the_store(world: World) -> None:
    for _ in range(3):
        world.publish()
    world.publish(manifest("whales"))
    world.registry.path.write_bytes(b"")
    found = mended(world, serving={"penguins": "1.0.1"})
    assert found.rebuilt is not None
    assert sorted(found.adopted) == ["penguins:1.0.0", "penguins:1.0.1", "penguins:1.0.2", "whales:1.0.0"]
    assert found.untrusted == []
    assert listed(world) == [("1.0.2", False, "ok"), ("1.0.1", True, "ok"), ("1.0.0", False, "ok")]
    require_trusted(world.registry, world.registry.get("penguins", "1.0.2"))
    assert any("no version of whales is live" in note for note in found.notes)
    assert [item.reason for item in world.registry.versions("penguins")] == ["retrained", "retrained", "first version"]
    assert mended(world).rebuilt is None
    assert world.publish().version == "1.0.3"


def test_what_can_still_be_read_of_a_damaged_registry_is_kept(world: World) -> None:
    for _ in range(3):
        world.publish(by="ada")
    world.registry.make_live("penguins", "1.0.1", kind="rolled back")
    world.registry.keep_service("penguins", port=4000)
    before = world.registry.events()
    content = bytearray(world.registry.path.read_bytes())
    place = content.index(b"published")
    content[place : place + 4] = b"burn"
    world.registry.path.write_bytes(content)
    with pytest.raises(RegistryDamaged):
        Registry(world.registry.path).events()
    found = mended(world)
    assert found.adopted == []
    assert [item.live for item in world.registry.versions("penguins")] == [False, True, False]
    assert {item.by for item in world.registry.versions("penguins")} == {"ada"}
    assert len(world.registry.events()) >= len(before) - 1
    assert world.registry.service("penguins") == {"port": 4000}
    for item in world.registry.versions("penguins"):
        require_trusted(world.registry, item)


def test_a_bundle_without_this_homes_mark_is_adopted_but_not_trusted(world: World, tmp_path: Path) -> None:
    """A Bento of ours that `bentoml import` put into the store, from somebody else."""
    other = World(Settings(home=tmp_path / "other" / "nb", bentoml_home=tmp_path / "other" / "b"), tmp_path / "other")
    made = other.publish()
    shutil.copytree(made.bundle, world.store.bundle("penguins", "1.0.0"))
    found = mended(world)
    assert found.untrusted == ["penguins:1.0.0"]
    assert listed(world) == [("1.0.0", False, "untrusted")]
    with pytest.raises(Untrusted):
        require_trusted(world.registry, world.registry.get("penguins", "1.0.0"))


def test_bad_bundles_are_put_aside_and_the_rest_works(world: World) -> None:
    """F26, and half a version directory breaks `bentoml list`."""
    for _ in range(4):
        world.publish()
    store = world.store
    (store.bundle("penguins", "1.0.0") / "src" / "model.pkl").unlink()
    (store.bundle("penguins", "1.0.1") / "src" / "golden.json").unlink()
    (store.bundle("penguins", "1.0.1") / "src" / "golden.json").write_bytes(b"{}")
    shutil.rmtree(store.bundle("penguins", "1.0.2"))
    (store.bundle("penguins", "9.9.9")).mkdir()
    found = mended(world)
    assert set(found.corrupt) == {"penguins:1.0.0", "penguins:1.0.1", "penguins:1.0.2"}
    assert found.strangers == [str(store.bundle("penguins", "9.9.9"))]
    assert listed(world) == [
        ("1.0.3", True, "ok"),
        ("1.0.2", False, "corrupt"),
        ("1.0.1", False, "corrupt"),
        ("1.0.0", False, "corrupt"),
    ]
    assert world.folders() == ["1.0.3", "9.9.9"]
    assert len(list(store.quarantine.iterdir())) == 2
    assert "is corrupt" in str(found)


def test_a_corrupt_version_put_back_is_whole_again(world: World, tmp_path: Path) -> None:
    made = world.publish()
    world.publish()
    shutil.copytree(made.bundle, tmp_path / "copy")
    shutil.rmtree(made.bundle)
    mended(world)
    shutil.copytree(tmp_path / "copy", made.bundle)
    assert mended(world).adopted == ["penguins:1.0.0"]
    assert listed(world)[1] == ("1.0.0", False, "ok")


def test_a_live_version_that_is_corrupt_is_named_with_the_way_out(world: World) -> None:
    made = world.publish()
    shutil.rmtree(made.bundle)
    assert any("nbdeploy rollback penguins" in note for note in mended(world).notes)


def test_what_a_crash_left_in_staging_is_cleaned(world: World) -> None:
    world.publish()
    stage(world.store.staging / "dead" / "bundle")
    found = mended(world)
    assert found.cleaned == ["staging/dead"]
    assert world.staged() == []


def test_staging_of_a_running_publish_is_left_alone(world: World) -> None:
    with world.store.workplace() as work:
        stage(work.bundle)
        assert mended(world).cleaned == []
        assert work.bundle.is_dir()


def test_a_publish_that_died_before_its_commit_is_undone(world: World) -> None:
    """F27: the folder is in the store, the registry knows nothing of it."""
    world.publish()
    crash(world)
    assert world.folders() == ["1.0.0", "1.0.1"]
    found = mended(world)
    assert found.undone == ["penguins:1.0.1"]
    assert world.folders() == ["1.0.0"]
    assert listed(world) == [("1.0.0", True, "ok")]


def test_the_next_publish_undoes_it_as_well_and_takes_the_number(world: World) -> None:
    world.publish()
    crash(world)
    assert world.publish().version == "1.0.1"
    assert world.folders() == ["1.0.0", "1.0.1"]
    assert mended(world).undone == []


def crash(world: World) -> None:
    """What `kill -9` leaves between the rename and the commit."""
    other = World(Settings(home=world.folder / "nb", bentoml_home=world.settings.bentoml_home), world.folder / "crash")
    made = other.publish(live=False)
    work = world.store.staging / "dead"
    work.mkdir()
    from nbdeploy.keep.staging import Workplace

    Workplace(work).aim(made.name, made.version, made.digest)


def test_a_removal_that_died_before_the_folder_went_is_finished(world: World, tmp_path: Path) -> None:
    made = world.publish()
    world.publish()
    shutil.copytree(made.bundle, tmp_path / "copy")
    remove(world.registry, world.settings.bentoml_home, "penguins", "1.0.0")
    shutil.copytree(tmp_path / "copy", made.bundle)
    assert mended(world).cleaned == ["penguins:1.0.0"]
    assert world.folders() == ["1.0.1"]


def test_a_lost_bento_yaml_is_written_again(world: World) -> None:
    made = world.publish()
    text = (made.bundle / "bento.yaml").read_text()
    (made.bundle / "bento.yaml").unlink()
    assert any("was written again" in note for note in mended(world).notes)
    assert (made.bundle / "bento.yaml").read_text() == text


def test_an_imported_version_is_not_trusted_by_losing_the_registry(world: World, tmp_path: Path) -> None:
    other = World(Settings(home=tmp_path / "other" / "nb", bentoml_home=tmp_path / "other" / "b"), tmp_path / "other")
    other.publish()
    file = export(other.registry, "penguins", None, tmp_path / "x.bento")
    import_bundle(file, world.registry, world.settings.bentoml_home)
    world.registry.path.write_bytes(b"rot")
    assert mended(world).untrusted == ["penguins:1.0.0"]


def test_a_version_that_was_trusted_is_so_after_the_registry_was_lost(world: World, tmp_path: Path) -> None:
    other = World(Settings(home=tmp_path / "other" / "nb", bentoml_home=tmp_path / "other" / "b"), tmp_path / "other")
    made = other.publish()
    file = export(other.registry, "penguins", None, tmp_path / "x.bento")
    import_bundle(file, world.registry, world.settings.bentoml_home)
    import_bundle(file, world.registry, world.settings.bentoml_home, trust=made.digest)
    world.registry.path.write_bytes(b"rot")
    assert mended(world).untrusted == []
    require_trusted(world.registry, world.registry.get("penguins", "1.0.0"))


def test_what_is_not_trusted_any_more_can_be_without_its_file(world: World, tmp_path: Path) -> None:
    """The whole home is lost, and with it what marks were made with; the error names two commands, which do it."""
    made = world.publish()
    world.registry.path.unlink()
    world.registry.path.with_name("registry.key").unlink()
    assert mended(world).untrusted == ["penguins:1.0.0"]
    with pytest.raises(Untrusted) as refused:
        require_trusted(world.registry, world.registry.get("penguins", "1.0.0"))
    assert "`nbdeploy export penguins:1.0.0 penguins.bento`" in str(refused.value)
    assert f"`nbdeploy import penguins.bento --trust {made.digest}`" in str(refused.value)
    file = export(world.registry, "penguins", "1.0.0", tmp_path / "penguins.bento")
    import_bundle(file, world.registry, world.settings.bentoml_home, trust=made.digest)
    require_trusted(world.registry, world.registry.get("penguins", "1.0.0"))
    assert listed(world) == [("1.0.0", False, "ok")]


def test_a_lost_mark_is_made_again(world: World) -> None:
    world.publish()
    world.registry.path.with_name("registry.key").unlink()
    mended(world)
    world.registry.path.write_bytes(b"rot")
    assert mended(world).untrusted == []


def test_an_interrupted_rebuild_is_no_rebuild(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    world.registry.path.write_bytes(b"")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nbdeploy.keep.recover._reconcile", stop)
        with pytest.raises(KeyboardInterrupt):
            mended(world)
    with pytest.raises(RegistryDamaged):
        Registry(world.registry.path).names()
    assert mended(world).adopted == ["penguins:1.0.0"]
