"""uv and pip: how an environment is made, which interpreter it is made from, and what their errors mean."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy.errors import EnvironmentFailed
from nbdeploy.runtime.environment import minor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIMEOUT = 1800.0  # seconds a tool may take; a slow line and a large package fit


@dataclass(frozen=True)
class Runner:
    """Runs the tools: says what happens, hands them the build's lock, ends them with us."""

    say: Callable[[str], None]
    held: int | None = None

    def output(self, argv: Sequence[str], folder: Path) -> str:
        """What a tool printed; it is started away from the notebook's folder, where a project's configuration could change it.

        Raises:
            EnvironmentFailed: it failed; the reason comes from its stderr.
        """
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder.parent,
            env=_environ(),
            pass_fds=() if self.held is None else (self.held,),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except BaseException:  # Ctrl-C too must not leave an installer running
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if process.returncode != 0:
            raise explained(err or out, folder)
        return out


def _environ() -> dict[str, str]:
    """The user's own, for their index and proxy, without what would leak this kernel's packages into the new one."""
    dropped = {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
        "PIP_USER",
        "PIP_TARGET",
    }
    own = {key: value for key, value in os.environ.items() if key not in dropped}
    if own.get("PIP_RETRIES") == "0":  # that an index did not answer pip says when it tries again, never before
        own["PIP_RETRIES"] = "1"
    return own


@dataclass(frozen=True)
class Tool:
    name: str
    create: Callable[[Path, Path, Runner], None]
    install: Callable[[Path, Path, Runner], None]
    add: Callable[[Path, Path, Sequence[str], Runner], None]  # more, in versions the lock allows
    last: bool = False


def available() -> tuple[Tool, ...]:
    """In the order to be tried. The lock is complete, so `install` resolves nothing."""
    uv = find_uv()
    pip = Tool("pip", _pip_create, _pip_install, _pip_add, last=True)
    return (pip,) if uv is None else (_uv(uv), pip)


def find_uv() -> str | None:
    """On PATH, beside this interpreter, or as the module's binary."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found or importlib.util.find_spec("uv") is None:
        return found
    import uv

    try:
        return os.fspath(uv.find_uv_bin())
    except FileNotFoundError:
        return None


def _uv(uv: str) -> Tool:
    def create(base: Path, folder: Path, run: Runner) -> None:
        run.output([uv, "venv", "--quiet", "--no-project", "--python", str(base), str(folder)], folder)

    def install(folder: Path, lock: Path, run: Runner) -> None:
        options = ["--no-deps", "--python", str(python_of(folder)), "--requirement", str(lock)]
        run.output([uv, "pip", "install", "--quiet", *options], folder)

    def add(folder: Path, lock: Path, names: Sequence[str], run: Runner) -> None:
        options = ["--python", str(python_of(folder)), "--constraint", str(lock)]
        run.output([uv, "pip", "install", "--quiet", *options, "--", *names], folder)

    return Tool("uv", create, install, add)


def _pip_create(base: Path, folder: Path, run: Runner) -> None:
    run.output([str(base), "-m", "venv", str(folder)], folder)


def _pip_install(folder: Path, lock: Path, run: Runner) -> None:
    options = ["--no-deps", "--no-input", "--disable-pip-version-check", "--requirement", str(lock)]
    run.output([str(python_of(folder)), "-m", "pip", "install", *options], folder)


def _pip_add(folder: Path, lock: Path, names: Sequence[str], run: Runner) -> None:
    options = ["--no-input", "--disable-pip-version-check", "--constraint", str(lock)]
    run.output([str(python_of(folder)), "-m", "pip", "install", *options, "--", *names], folder)


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def find_python(wanted: str, run: Runner) -> Path:
    """An interpreter of a minor version ("3.12"), asked for its version: shims on PATH may lead nowhere.

    Raises:
        EnvironmentFailed: there is none.
    """
    for candidate in _candidates(wanted, run):
        if candidate == Path(sys.executable) or _version(candidate) == wanted:
            return candidate
    raise EnvironmentFailed(
        f"it needs Python {wanted}, and none was found on PATH, with uv or with pyenv",
        f"install one, for example with: uv python install {wanted}",
    )


def _candidates(wanted: str, run: Runner) -> Iterator[Path]:
    if minor(".".join(map(str, sys.version_info[:2]))) == wanted:
        yield Path(sys.executable)
    on_path = shutil.which(f"python{wanted}")
    if on_path:
        yield Path(on_path)
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(versions.glob(f"{wanted}.*/bin/python"), reverse=True)
    uv = find_uv()
    if uv:
        try:
            found = run.output(
                [uv, "python", "find", "--no-project", "--no-python-downloads", wanted], Path.cwd() / "x"
            )
        except EnvironmentFailed:
            return
        yield Path(found.strip())


def _version(python: Path) -> str | None:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def explained(said: str, folder: Path) -> EnvironmentFailed:
    """What uv or pip said, as fact and next step; the first pattern that is found names the cause."""
    text = without_secrets(said)
    log = "\n".join([line for line in text.splitlines() if line.strip()][-12:])
    for pattern, fact, advice in _CAUSES:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            named = {"what": next((group for group in match.groups() if group), ""), "folder": folder.parent}
            return EnvironmentFailed(fact.format(**named), advice.format(**named), log)
    return EnvironmentFailed("uv or pip failed", "its last words are below", log)


def without_secrets(text: str) -> str:
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)


_UNREACHED = (
    r"dns error|failed to resolve|name or service not known|temporary failure in name resolution|connection refused"
    r"|network is unreachable|newconnectionerror|max retries exceeded|connect timeout|operation timed out|tcp connect"
    r"|proxyerror|failed to fetch"
)
# Order matters: pip without a network, or with a certificate it does not trust, also says "no matching distribution".
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded|os error 28|errno 28",
        "there is no space left under {folder}, or in the folder for temporary files",
        "free some, or set NBDEPLOY_HOME, or TMPDIR, to another disk",
    ),
    (
        r"hash mismatch|do not match the hashes",
        "a package is not the file whose hash is known",
        "see who changed it at the index; where that was meant, remove the lock in NBDEPLOY_HOME/images/dependencies and build again",
    ),
    (
        r"ensurepip is not available|No module named '?(?:venv|ensurepip)",
        "that Python lacks the venv module",
        "install it (Debian and Ubuntu: apt install python3-venv), or install uv: pip install uv",
    ),
    (
        r"certificate[ _]verify[ _]failed|invalid peer certificate",
        "the certificate of the package index, or of the proxy before it, is not trusted here",
        "behind a proxy with a CA of its own, name the CA's file with SSL_CERT_FILE (uv) and PIP_CERT (pip)",
    ),
    (
        r"suitable TLS CA certificate bundle, invalid path: (.+)",
        "the file of certificates that pip was told of is not there: {what}",
        "correct PIP_CERT, or `cert` in pip's configuration (`pip config list`), and SSL_CERT_FILE for uv",
    ),
    (
        _UNREACHED,
        "the package index did not answer",
        "check the network, the proxy, and the index configured for uv and pip, then try again",
    ),
    (
        r"(?:no version of|no matching distribution found for|could not find a version that satisfies the requirement) ([\w.-]+==[^\s,;]+)",
        "no index offers {what} for this Python and platform",
        "add the index that has it to the configuration of pip and uv, or deploy again with a published version",
    ),
    (
        r"because ([\w.-]+) was not found",
        "no index offers {what}",
        "add the index that has it to the configuration of pip and uv",
    ),
    (
        r"permission denied|read-only file system",
        "{folder} cannot be written",
        "make it writable, or set NBDEPLOY_HOME to a folder of yours",
    ),
    (
        r"failed to build `?([\w.=-]+)|failed building wheel for ([\w.-]+)",
        "{what} has no wheel for this Python and platform, and building it failed",
        "install the compilers it asks for, or deploy again with a version that has wheels",
    ),
)
