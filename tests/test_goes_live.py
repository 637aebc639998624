"""How a version comes to be live: all of it or nothing, and back again where the hand-over fails."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from keep_world import World, stage
from killing import killed_at_each_step

from nbdeploy import deployment
from nbdeploy.capture.bundle import Bundle
from nbdeploy.deployment import Deployment
from nbdeploy.errors import PortTaken, ServiceFailed
from nbdeploy.judge import away
from nbdeploy.keep.history import at, rollback_target
from nbdeploy.keep.recover import recover
from nbdeploy.keep.store import publish
from nbdeploy.run.options import Running
from nbdeploy.run.services import ServiceState
from nbdeploy.runtime.clock import now
from nbdeploy.runtime.control import Garbled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.keep.registry import Also
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Launch
    from nbdeploy.settings import Settings


pytestmark = pytest.mark.slow


class Launcher:
    """One that starts nothing: `serving` is what answers, `failure` what a hand-over ends with."""

    name = "memory"

    def __init__(self) -> None:
        self.serving: str | None = None
        self.failure: BaseException | None = None
        self.late = False  # it took over all the same
        self.taken = False  # somebody else has the port

    def prepare(self, launch: Launch, _progress: object) -> SimpleNamespace:
        if self.taken:
            raise PortTaken(launch.name, f"port {launch.port} is taken by python (pid 7)")

        def activate(version: str, _bundle: Path) -> str:
            if self.failure is None or self.late:
                self.serving = version
            if self.failure is not None:
                raise self.failure
            return "http://127.0.0.1:4000"

        return SimpleNamespace(
            url="http://127.0.0.1:1", public="http://127.0.0.1:4000", activate=activate, discard=lambda: None
        )

    def state(self, folder: Path) -> ServiceState:
        return ServiceState(folder.name, "ready" if self.serving else "stopped", version=self.serving)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    made = Launcher()
    monkeypatch.setattr(deployment, "launcher", lambda _name, _settings: made)
    monkeypatch.setattr(away, "check", lambda *_: None)
    return made


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def place(world: World) -> Deployment:
    return Deployment(world.settings, world.registry, "penguins")


def up(world: World, number: int, **wanted: Any) -> None:
    """As `up` does, from the staged bundle on."""
    folder = world.folder / f"up{number}"
    made = stage(folder, model=b"up %d" % number)

    def commit(also: Also) -> Version:
        return publish(folder, made, world.registry, world.settings.bentoml_home, also=also)

    place(world).take_over(Bundle(folder, made), Running("memory", **wanted), commit, print)


def serve(world: World, version: str, **wanted: Any) -> None:
    chosen = world.registry.get("penguins", version)

    def commit(also: Also) -> Version:
        return world.registry.make_live("penguins", version, also=also)

    place(world).take_over(Bundle(chosen.bundle, chosen.manifest()), Running("memory", **wanted), commit, print)


def books(world: World) -> tuple[str | None, dict[str, Any], list[str]]:
    """What must change together: the live version, what is kept for the name, and that it was served."""
    events = [event.version or "" for event in world.registry.events("penguins") if event.kind == "served"]
    return world.live(), world.registry.service("penguins"), events


def steps(world: World) -> Iterator[int]:
    """An `up` killed at every step, with the homes put in order after each."""
    for step in killed_at_each_step(partial(up, world, 2, workers=3)):
        recover(world.registry, world.settings.bentoml_home)
        yield step


@pytest.mark.thorough
def test_f27_a_deploy_killed_at_any_step_is_wholly_done_or_not_at_all(world: World, launcher: Launcher) -> None:
    up(world, 1)
    old = books(world)
    assert old == ("1.0.0", {"launcher": "memory", "port": 4000}, ["1.0.0"])
    seen: list[bool] = []
    for step in steps(world):
        found = books(world)
        new = found[0] != "1.0.0"
        assert found[1] == old[1] | ({"workers": 3} if new or seen[-1:] == [True] else {}), f"killed at step {step}"
        assert found[2][-1] == found[0], f"killed at step {step}"
        assert world.staged() == []
        assert world.folders() == sorted(item.version for item in world.registry.versions("penguins"))
        seen.append(new)
    assert {True, False} == set(seen), "one death before the commit at least, and one after it"


def test_f27_a_serve_killed_at_any_step_is_wholly_done_or_not_at_all(world: World, launcher: Launcher) -> None:
    up(world, 1)
    up(world, 2)
    assert world.live() == "1.0.1"
    before = books(world)
    seen = set()
    for step in killed_at_each_step(partial(serve, world, "1.0.0", workers=2)):
        found = books(world)
        after = ("1.0.0", before[1] | {"workers": 2}, [*before[2], "1.0.0"])
        assert found in (before, after), f"killed at step {step}"
        seen.add(found == after)
        if found == after:
            break
    assert False in seen


FAILURES = [
    ServiceFailed("penguins", "its supervisor ended during the hand-over", "`serve` starts it again"),
    Garbled("a line that is not JSON"),
    KeyError("event"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("stopped", [True, False])
def test_a_hand_over_that_fails_leaves_live_what_was_live(
    world: World, launcher: Launcher, failure: BaseException, stopped: bool
) -> None:
    up(world, 1)
    if stopped:
        launcher.serving = None
        place(world).tell_stopped()
    before, serving = books(world), at(world.registry, "penguins", now()).serving
    launcher.failure = failure
    with pytest.raises(type(failure)):
        up(world, 2, workers=3)
    assert books(world)[:2] == before[:2]
    assert at(world.registry, "penguins", now()).serving == serving == (not stopped)
    assert [item.version for item in world.registry.versions("penguins")] == ["1.0.1", "1.0.0"], "it was published"
    launcher.failure = None
    serve(world, "1.0.1")
    assert rollback_target(world.registry, "penguins").version == "1.0.0"


def test_a_first_version_whose_hand_over_fails_is_not_live(world: World, launcher: Launcher) -> None:
    launcher.failure = FAILURES[0]
    with pytest.raises(ServiceFailed):
        up(world, 1)
    assert books(world)[:2] == (None, {})
    assert not at(world.registry, "penguins", now()).serving
    launcher.failure = None
    serve(world, "1.0.0")
    assert books(world)[:2] == ("1.0.0", {"launcher": "memory", "port": 4000})


def test_a_version_that_answers_after_all_is_live(world: World, launcher: Launcher) -> None:
    """Its supervisor took over, and died before it could say so in words we understand."""
    up(world, 1)
    launcher.failure, launcher.late = Garbled("half a line"), True
    with pytest.raises(Garbled):
        up(world, 2)
    assert (world.live(), launcher.serving) == ("1.0.1", "1.0.1")


def test_f13_who_gave_no_port_is_told_which_one_is_kept_and_how_to_give_another(
    world: World, launcher: Launcher
) -> None:
    up(world, 1)
    launcher.serving, launcher.taken = None, True
    with pytest.raises(PortTaken, match=r"port 4000 is taken .*; penguins keeps that port .* another with --port\.$"):
        serve(world, "1.0.0")
    with pytest.raises(PortTaken, match=r"port 4001 is taken .*; choose another with --port, or leave it out\.$"):
        serve(world, "1.0.0", port=4001)
    assert world.registry.service("penguins")["port"] == 4000
