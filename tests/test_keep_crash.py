"""Crowds and crashes, with real processes."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from keep_world import World, stage
from killing import killed_at_each_step

from nbdeploy.errors import RegistryDamaged
from nbdeploy.keep import damage
from nbdeploy.keep.archive import export
from nbdeploy.keep.arrival import import_bundle
from nbdeploy.keep.recover import recover
from nbdeploy.keep.registry import Registry
from nbdeploy.keep.store import intact, manifest_of, publish, remove
from nbdeploy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def started(work: Callable[[], object]) -> int:
    """A process of its own that does the work and ends with 0, or 1 when it raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check(world: World) -> None:
    """Registry and store agree, everything is whole, nothing is left over."""
    versions = world.registry.versions("penguins")
    for version in versions:
        intact(version)
    assert world.folders() == sorted(item.version for item in versions)
    assert sum(version.live for version in versions) == 1
    assert world.staged() == []


def lose(world: World, log: bytes) -> None:
    """The registry's file is gone; a write-ahead log of an earlier state lies there."""
    path = world.registry.path
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    path.with_name(f"{path.name}-wal").write_bytes(log)


@pytest.mark.slow
@pytest.mark.thorough
def test_f27_a_rebuild_that_is_killed_at_any_step_is_none_or_whole(world: World) -> None:
    """An orphaned write-ahead log must never meet the new file: SQLite would take its pages for those of that file."""
    path, home = world.registry.path, world.settings.bentoml_home
    world.publish()
    with closing(damage.connect(path)) as reader:  # the last to close it would empty the log
        reader.execute("SELECT * FROM versions").fetchall()
        world.publish()
        log = path.with_name(f"{path.name}-wal").read_bytes()
    assert log
    world.publish()
    every = ["1.0.2", "1.0.1", "1.0.0"]
    lose(world, log)
    steps = 0
    for step in killed_at_each_step(partial(recover, world.registry, home)):
        steps = step
        with suppress(RegistryDamaged):
            assert [item.version for item in Registry(path).versions("penguins")] == every, f"killed at step {step}"
        recover(world.registry, home)
        assert [item.version for item in Registry(path).versions("penguins")] == every
        lose(world, log)
    assert steps > 10


@pytest.mark.slow
def test_eight_processes_recover_one_lost_registry(world: World) -> None:
    for _ in range(3):
        world.publish()
    world.registry.path.write_bytes(b"")
    workers = [started(partial(recover, Registry(world.registry.path), world.settings.bentoml_home)) for _ in range(8)]
    assert [ended(pid) for pid in workers] == [0] * 8
    assert len(world.registry.versions("penguins")) == 3
    assert len(damage.damaged(world.registry.path)) == 1


@pytest.mark.slow
def test_eight_processes_publish_one_name_and_get_eight_whole_versions(world: World) -> None:
    """F32"""
    bundles = [
        (world.folder / str(number), stage(world.folder / str(number), model=b"%d" % number)) for number in range(8)
    ]

    home = world.settings.bentoml_home
    pids = [started(partial(publish, folder, manifest, world.registry, home)) for folder, manifest in bundles]
    assert [ended(pid) for pid in pids] == [0] * 8
    versions = world.registry.versions("penguins")
    assert [item.version for item in versions] == [f"1.0.{number}" for number in range(7, -1, -1)]
    assert {item.digest for item in versions} == {manifest.digest for _, manifest in bundles}
    assert versions[0].live
    check(world)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_publish_killed_at_any_time_leaves_the_old_state_or_the_new(world: World) -> None:
    """F27: 16 kills at random times around the commit, which is sought: later after the old state, earlier after the new.

    Half are followed by `recover`, half by the next publish.
    """
    world.publish()
    chance = random.Random(27)
    start = time.perf_counter()
    world.publish()
    aim = time.perf_counter() - start
    outcomes = {True: 0, False: 0}
    for turn in range(16):
        before = {item.version for item in world.registry.versions("penguins")}
        folder = world.folder / f"turn{turn}"
        made = stage(folder, model=b"turn %d" % turn)
        pid = started(partial(publish, folder, made, world.registry, world.settings.bentoml_home))
        time.sleep(aim * chance.uniform(0.7, 1.1))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        live = world.registry.live("penguins")
        after = {item.version for item in world.registry.versions("penguins")}
        new = after - before
        assert len(new) <= 1
        assert live is not None
        assert (live.digest == made.digest) == bool(new)
        outcomes[bool(new)] += 1
        aim *= 0.7 if new else 1.4
        assert manifest_of(live).name == "penguins"
        if turn % 2:
            recover(world.registry, world.settings.bentoml_home)
            check(world)
        else:
            world.publish()
    recover(world.registry, world.settings.bentoml_home)
    check(world)
    assert min(outcomes.values()) > 0, outcomes


@pytest.mark.slow
def test_an_import_killed_at_any_time_leaves_nothing_or_all(world: World, tmp_path: Path) -> None:
    world.publish()
    file = export(world.registry, "penguins", None, tmp_path / "x.bento")
    chance = random.Random(52)
    seen = set()
    for turn in range(8):
        other = World(Settings(home=tmp_path / f"{turn}" / "nb", bentoml_home=tmp_path / f"{turn}" / "b"), tmp_path)
        pid = started(partial(import_bundle, file, other.registry, other.settings.bentoml_home))
        time.sleep(chance.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        recover(other.registry, other.settings.bentoml_home)
        assert other.staged() == []
        names = other.registry.names()
        assert other.folders() == (["1.0.0"] if names else [])
        seen.add(bool(names))
    assert False in seen


Everything = tuple[list[tuple[str, bool, str]], list[str], list[str]]


def everything(world: World) -> Everything:
    """What is there: versions, which is live, and the folders with all they hold."""
    versions = [(item.version, item.live, item.state) for item in world.registry.versions("penguins")]
    bentos = world.settings.bentoml_home / "bentos"
    files = sorted(path.relative_to(bentos).as_posix() for path in bentos.rglob("*") if path.is_file())
    return versions, files, [event.kind for event in world.registry.events("penguins")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", ["publish", *(pytest.param(verb, marks=pytest.mark.thorough) for verb in ("import", "remove", "rollback"))]
)
def test_f27_whatever_is_killed_at_any_step_leaves_the_old_set_or_the_new(
    world: World, tmp_path: Path, verb: str
) -> None:
    """Every fsync, rename, link, removal, registry write and commit, one after the other; each is followed by `recover`."""
    for _ in range(2):
        world.publish()
    home = world.settings.bentoml_home
    other = World(Settings(home=tmp_path / "o" / "nb", bentoml_home=tmp_path / "o" / "b"), tmp_path / "o")
    for _ in range(3):
        other.publish(model=b"from elsewhere")
    file = export(other.registry, "penguins", "1.0.2", tmp_path / "x.bento")
    folder = tmp_path / "next"
    made = stage(folder, model=b"next")
    works: dict[str, Callable[[], object]] = {
        "publish": partial(publish, folder, made, world.registry, home),
        "import": partial(
            import_bundle, file, world.registry, home, trust=manifest_of(other.registry.get("penguins")).digest
        ),
        "remove": partial(remove, world.registry, home, "penguins", "1.0.0"),
        "rollback": partial(world.registry.make_live, "penguins", "1.0.0", kind="rolled back"),
    }
    old = everything(world)
    left: list[Everything] = []
    for step in killed_at_each_step(works[verb]):
        recover(world.registry, home)
        assert world.staged() == [], f"killed at step {step}"
        check(world)
        left.append(everything(world))
        if left[-1] != old:
            break
    else:
        left.append(everything(world))
    new = left[-1]
    assert new != old
    assert all(found == old for found in left[:-1])
    assert len(left) > 3
    assert (
        new[0][0]
        == {
            "publish": ("1.0.2", True, "ok"),
            "import": ("1.0.2", False, "ok"),
            "remove": ("1.0.1", True, "ok"),
            "rollback": ("1.0.1", False, "ok"),
        }[verb]
    )
