from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.errors import EnvironmentFailed, Refused
from nbdeploy.run import environments, installers
from nbdeploy.run.environments import interpreter_for, read_lock
from nbdeploy.runtime.environment import minor, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.settings import Settings

HERE = minor(platform.python_version())


def wanted(tmp_path: Path, *lines: str, python: str = HERE) -> tuple[dict[str, Any], Path]:
    lock = tmp_path / "requirements.txt"
    lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {"python": f"{python}.0", "requirements": list(lines)}, lock


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Leave uv or pip alone to build."""
    tools = [tool for tool in installers.available() if tool.name == name]
    monkeypatch.setattr(installers, "available", lambda: tuple(tools))


def versions(python: Path, *names: str) -> list[str]:
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    return subprocess.run(
        [python, "-I", "-c", code, *names], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()


def test_this_interpreter_serves_where_it_satisfies_the_lock(settings: Settings, tmp_path: Path) -> None:
    import numpy as np

    environment, lock = wanted(tmp_path, f"numpy=={np.__version__}")
    assert interpreter_for(environment, lock, settings) == Path(sys.executable)
    assert not settings.environments.exists()


def test_a_package_only_this_kernel_sees_does_not_count(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "elsewhere" / "zeta-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: zeta\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    environment, _ = wanted(tmp_path, "zeta==1.0")
    assert problems(environment) == []
    assert environments._problems_of_a_fresh_one(environment) == ["zeta is not installed, the bundle needs 1.0"]


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--index-url https://evil.example",
        "x @ file:///tmp/x.whl",
        "./local",
        "six>=1",
        "six",
        "six==1.*,!=1.1",
        "http://a/b.whl",
        "x @ http://a/b.whl",
        "six==1.0 --hash=sha256:00",
        "x @ git+file:///tmp/repo@abc",
    ],
)
def test_a_lock_may_only_name_packages_f53(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"numpy==2.0\n{line}\n", encoding="utf-8")
    with pytest.raises(Refused, match="only"):
        read_lock(lock)


@given(st.text())
def test_any_lock_is_read_or_refused(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "requirements.txt"
        lock.write_text(text, encoding="utf-8", newline="")
        try:
            lines = read_lock(lock)
        except Refused:
            return
    assert all("==" in line or " @ " in line for line in lines)
    assert not any(line.startswith("-") for line in lines)


def test_comments_and_order_do_not_make_another_environment(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("# made by hand\n\nsix==1.17.0\nidna==3.10\n", encoding="utf-8")
    assert read_lock(lock) == ["idna==3.10", "six==1.17.0"]
    assert environments._key(["a==1"], "3.11") != environments._key(["a==1"], "3.12")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Because there is no version of six==1.99 and you require six==1.99", "no index offers six==1.99"),
        ("ERROR: No matching distribution found for six==9.9", "no index offers six==9.9"),
        ("NewConnectionError ... refused\nERROR: No matching distribution found for six==1.17.0", "did not answer"),
        ("Failed to fetch: https://me:s3cret@host/simple/six/\ndns error", "did not answer"),
        (
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')\nERROR: No matching distribution found for six==1.17.0",
            "behind a proxy with a CA of its own, name the CA's file with SSL_CERT_FILE (uv) and PIP_CERT (pip)",
        ),
        (
            "error: Failed to fetch: https://x/six/\n  cause: invalid peer certificate: UnknownIssuer",
            "is not trusted here",
        ),
        (
            "OSError: Could not find a suitable TLS CA certificate bundle, invalid path: /ca.pem",
            "is not there: /ca.pem",
        ),
        ("OSError: [Errno 28] No space left on device", "or in the folder for temporary files"),
        ("[Errno 13] Permission denied: '/x'", "cannot be written"),
        ("The virtual environment was not created because ensurepip is not available.", "lacks the venv module"),
        ("x Failed to build `foo==1.0`", "foo==1.0 has no wheel"),
        ("something else", "uv or pip failed"),
    ],
)
def test_the_tools_words_are_explained_without_secrets(said: str, told: str) -> None:
    error = installers.explained(said, Path("/envs/x"))
    assert told in str(error)
    assert "s3cret" not in str(error)


def test_no_interpreter_of_that_minor_version_is_said(settings: Settings, tmp_path: Path) -> None:
    environment, lock = wanted(tmp_path, "six==1.17.0", python="3.99")
    with pytest.raises(EnvironmentFailed, match=r"needs Python 3\.99"):
        interpreter_for(environment, lock, settings)


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["uv", pytest.param("pip", marks=pytest.mark.thorough)])
def test_an_environment_is_built_once_from_the_package_index(
    tool: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tool == "pip":
        only(monkeypatch, "pip")
    environment, lock = wanted(tmp_path, "six==1.16.0", "idna==3.10")
    said: list[str] = []
    python = interpreter_for(environment, lock, settings, said.append)
    assert python.is_relative_to(settings.environments)
    assert versions(python, "six", "idna") == ["1.16.0", "3.10"]
    assert said[-1] == "the environment is built"
    before = python.parent.parent.stat().st_mtime_ns
    assert interpreter_for(environment, lock, settings, said.append) == python
    assert python.parent.parent.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.thorough
def test_pip_takes_over_where_uv_cannot(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    environment, lock = wanted(tmp_path, "six==1.16.0")
    said: list[str] = []
    python = interpreter_for(environment, lock, settings, said.append)
    assert versions(python, "six") == ["1.16.0"]
    assert any("trying pip" in text for text in said)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_version_nobody_has_is_named_and_nothing_stays(settings: Settings, tmp_path: Path) -> None:
    environment, lock = wanted(tmp_path, "six==1.99.99")
    with pytest.raises(EnvironmentFailed, match=r"no index offers six==1\.99\.99"):
        interpreter_for(environment, lock, settings)
    assert [path.name for path in settings.environments.iterdir() if path.is_dir()] == []


@pytest.mark.slow
@pytest.mark.thorough
def test_an_index_out_of_reach_is_said(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:s3cret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")  # pip itself is silent then
    only(monkeypatch, "pip")
    environment, lock = wanted(tmp_path, "six==1.16.0")
    with pytest.raises(EnvironmentFailed, match="did not answer") as caught:
        interpreter_for(environment, lock, settings)
    assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_a_half_built_environment_is_built_again(settings: Settings, tmp_path: Path) -> None:
    environment, lock = wanted(tmp_path, "six==1.16.0")
    python = interpreter_for(environment, lock, settings)
    (python.parent.parent / environments.MARKER).unlink()
    (python.parent.parent / "rubbish").write_text("")
    assert interpreter_for(environment, lock, settings) == python
    assert not (python.parent.parent / "rubbish").exists()


@pytest.mark.slow
def test_two_builders_of_one_environment_share_the_work(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[Path] = []
    real: Callable[..., str] = environments._install

    def counted(folder: Path, *rest: Any) -> str:
        builds.append(folder)
        return real(folder, *rest)

    monkeypatch.setattr(environments, "_install", counted)
    environment, lock = wanted(tmp_path, "six==1.16.0", "idna==3.10")
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(interpreter_for(environment, lock, settings))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(set(found)) == 1
    assert len(found) == 4
    assert len(builds) == 1


@pytest.mark.slow
def test_another_minor_version_is_found_and_used(settings: Settings, tmp_path: Path) -> None:
    runner = installers.Runner(lambda _text: None)
    other = next((item for item in ("3.12", "3.13", "3.10", "3.9") if item != HERE and _has(item, runner)), None)
    environment, lock = wanted(tmp_path, "six==1.16.0", python=other or "3.99")
    if other is None:  # a machine with one Python only: the refusal is what can be seen
        with pytest.raises(EnvironmentFailed, match="needs Python"):
            interpreter_for(environment, lock, settings)
        return
    python = interpreter_for(environment, lock, settings)
    said = subprocess.run([python, "-V"], capture_output=True, text=True, check=True, timeout=20).stdout
    assert said.startswith(f"Python {other}.")


def _has(python: str, runner: installers.Runner) -> bool:
    try:
        installers.find_python(python, runner)
    except EnvironmentFailed:
        return False
    return True


def test_an_interrupt_ends_the_tool(tmp_path: Path) -> None:
    runner = installers.Runner(lambda _text: None)
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        runner.output([sys.executable, "-I", "-c", code], tmp_path / "env")
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_notebook_s_interpreter_has_more_than_the_lock(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock as it is, then what the notebook imports, a kernel and nbdeploy itself, in versions the lock allows."""
    asked: list[tuple[str, ...]] = []

    def create(_base: Path, folder: Path, _run: installers.Runner) -> None:
        folder.mkdir()

    def install(_folder: Path, lock: Path, _run: installers.Runner) -> None:
        asked.append(tuple(lock.read_text(encoding="utf-8").split()))

    def add(_folder: Path, lock: Path, names: Sequence[str], _run: installers.Runner) -> None:
        asked.append((lock.name, *names))

    monkeypatch.setattr(installers, "available", lambda: (installers.Tool("fake", create, install, add, last=True),))
    monkeypatch.setattr(environments, "_verify", lambda *_: None)
    environment, lock = wanted(tmp_path, "six==0.0.1")
    python = environments.kernel_for(environment, lock, ["palmerpenguins", "nbdeploy"], settings)
    assert python.is_relative_to(settings.environments)
    assert asked[0] == ("six==0.0.1",)
    assert asked[1][:3] == ("requirements.txt", "ipykernel", "palmerpenguins")
    assert asked[1][3].startswith("nbdeploy")
    assert len(asked[1]) == 4
    here, lock = wanted(tmp_path)
    assert environments.kernel_for(here, lock, ["palmerpenguins"], settings) == Path(sys.executable)
