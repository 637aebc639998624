"""Serves the bundle beside this file. `start` runs it, once it has found every file as it was exported.

The first start makes an environment from the wheels in this folder; no index is asked. Then the supervisor of the bundle's
own runtime answers on loopback until it is told to stop. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
SRC = HERE / "bundle" / "src"
MARKER = "complete"  # in the environment; written last
EARLY = "Stopped before it was ready."
NO_SPACE = ("No space left on device", "Disk quota exceeded")
PIP = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('pip', run_name='__main__')"


def main() -> int:
    facts = json.loads((HERE / "facts.json").read_bytes())
    options = parse(facts)
    refuse_other_platform(facts)
    home = made(options.home or HERE / "run")
    service = made(home / facts["name"])
    with alone(service):
        token = token_of(service)
        python = environment(facts, home)
        order = {
            **facts["order"],
            "name": facts["name"],
            "bundle": str(HERE / "bundle"),
            "digest": facts["digest"],
            "python": str(python),
            "registry": str(home / "none"),  # there is none; what this version is stands in the folder
            "environment": variables(facts["environment"], home),
            "workers": options.workers,
            "port": options.port,
            "token_sha256": hashlib.sha256(token[1].encode()).hexdigest(),
            "log": str(service / "predictions"),
        }
        return serve(facts, service, token[0], order)


def parse(facts: dict[str, Any]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./start",
        description=f"Serves {facts['name']}:{facts['version']} on 127.0.0.1 until Ctrl-C or SIGTERM.",
        epilog="NBDEPLOY_TOKEN_FILE names a token of your own; NBDEPLOY_ALLOWED_HOSTS adds host names beside loopback.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=number(65_535), default=3000, metavar="N", help="the port (3000)")
    parser.add_argument("--workers", type=number(64), default=1, metavar="N", help="processes that answer (1)")
    parser.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        help="for environment, token and logs: the folder run beside this script, or another where that cannot be written",
    )
    return parser.parse_args()


def number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"give a number from 1 to {most}, not {text!r}")
        return int(text)

    return read


def refuse_other_platform(facts: dict[str, Any]) -> None:
    """Its wheels hold code for one kind of machine."""
    wanted, here = facts["platform"], sysconfig.get_platform()
    mine = (sys.implementation.name, *kind(here))
    if mine != (facts["implementation"], *kind(wanted)):
        stop(f"This folder was made for {facts['implementation']} on {wanted}, and this is {mine[0]} on {here}")
    if facts["glibc"] is not None and sys.platform == "linux":
        library, version = platform.libc_ver()
        found = [int(part) for part in version.split(".")[:2] if part.isdigit()]
        if library != "glibc" or found < facts["glibc"]:
            least = ".".join(map(str, facts["glibc"]))
            stop(
                f"Its packages need the GNU C library {least} or newer, and this system has {library} {version}".rstrip()
            )


def kind(name: str) -> tuple[str, str]:
    """System and processor of "linux-x86_64" or "macosx-14.0-arm64"."""
    return name.partition("-")[0], name.rpartition("-")[2]


def stop(fact: str, step: str = "Export the version again on a machine like this one") -> None:
    sys.exit(f"{fact}. {step}.")


def made(folder: Path) -> Path:
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = folder / f".trial.{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        no_room(error.strerror or "")
        stop(f"{folder} cannot be written ({error.strerror})", "Name a folder that can: ./start --home DIR")
    return folder


@contextlib.contextmanager
def alone(service: Path) -> Any:
    """One start at a time; a process that ended in whatever way holds it no more."""
    with (service / "supervisor.lock").open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stop(
                f"{service} is in use: it is being served already",
                "Stop that first, or give this one a --home of its own",
            )
        yield


def token_of(service: Path) -> tuple[Path, str]:
    """Where it lies, and what it is; made at the first start, for this user's eyes alone."""
    named = os.environ.get("NBDEPLOY_TOKEN_FILE")
    path = Path(named).absolute() if named else service / "token"
    try:
        if not named and not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        stop(f"The token's file {path} cannot be read ({error})", "Mend it, or name another with NBDEPLOY_TOKEN_FILE")
    if not token:
        stop(f"The token's file {path} is empty", "Remove it for a new token, or put one in")
    return path, token


def variables(rules: dict[str, Any], home: Path) -> dict[str, str]:
    """All that the service sees of this environment. Compiled modules go to `home`, so that the folder stays as it is."""
    prefixes = tuple(rules["prefixes"])
    passed = {key: value for key, value in os.environ.items() if key in rules["names"] or key.startswith(prefixes)}
    return {**passed, **rules["always"], "PYTHONPYCACHEPREFIX": str(home / "cache")}


def environment(facts: dict[str, Any], home: Path) -> Path:
    """The interpreter of an environment with exactly the wheels of this folder, made where there is none that is whole."""
    folder = home / "env"
    python = folder / "bin" / "python"
    wanted = hashlib.sha256((HERE / "SHA256SUMS").read_bytes()).hexdigest()
    with contextlib.suppress(OSError):
        if (folder / MARKER).read_text(encoding="ascii") == wanted and python.exists():
            return python
    shutil.rmtree(folder, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if free < facts["room"]:
        no_room(NO_SPACE[0], f"{facts['room'] / 1e6:.0f} MB are needed in {home}, and {free / 1e6:.0f} MB are free")
    print(f"making an environment in {folder}, once ...", flush=True)
    try:
        install(facts, folder, python)
        (folder / MARKER).write_text(wanted, encoding="ascii")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        no_room(error.strerror or "")
        stop(
            f"The environment {folder} cannot be made ({error})",
            "See to that folder, or name another: ./start --home DIR",
        )
    return python


def install(facts: dict[str, Any], folder: Path, python: Path) -> None:
    try:
        import venv
    except ImportError:
        stop("This Python lacks the module venv", "Install it (Debian and Ubuntu: apt install python3-venv)")
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    pip = [str(python), "-I", "-B", "-c", PIP, str(HERE / "wheels" / facts["installer"])]
    options = ["--no-index", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile", "--no-cache-dir"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    places = ["--find-links", str(HERE / "wheels"), "--requirement", str(HERE / "requirements.txt")]
    scratch = folder / "tmp"
    scratch.mkdir()
    process = subprocess.Popen(
        [*pip, "--isolated", "install", *options, *quiet, *places],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "LC_ALL": "C.UTF-8",
        },
        start_new_session=True,
    )
    try:
        said = process.communicate()[0]
    except BaseException:  # Ctrl-C and SIGTERM
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if process.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        no_room(said)
        sys.exit(f"The packages could not be installed. Nothing was started; the last words of pip:\n{said[-2_000:]}")
    shutil.rmtree(scratch, ignore_errors=True)


def no_room(said: str, more: str = "There is no space left for the environment") -> None:
    if any(text in said for text in NO_SPACE):
        stop(more, "Free some, or name a folder on another disk: ./start --home DIR")


def serve(facts: dict[str, Any], service: Path, token: Path, order: dict[str, Any]) -> int:
    """This process is the supervisor; a child tells it what to serve, and how that went."""
    sys.path.insert(0, str(SRC))
    from nbdeploy_runtime.supervisor import Supervisor

    supervisor = Supervisor(service)
    supervisor.listen()
    child = os.fork()
    if child == 0:
        os._exit(told(facts, service, token, order))
    try:
        with (service / "supervisor.log").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            supervisor.run()
    finally:
        code = ended(child)
    if code == 0:
        print(f"{facts['name']} has stopped.", flush=True)
    return code


def ended(child: int) -> int:
    """Its exit code. Without a supervisor it has nothing to wait for; one that was never heard would not notice."""
    for _ in range(100):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(EARLY, file=sys.stderr, flush=True)
    return 130


def told(facts: dict[str, Any], service: Path, token: Path, order: dict[str, Any]) -> int:
    from nbdeploy_runtime import control

    for each in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both, and so may the other; the supervisor decides
        signal.signal(each, signal.SIG_IGN)
    tag = f"{facts['name']}:{facts['version']}"
    print(f"starting {tag} ...", flush=True)
    try:
        channel = control.connect(service)
    except (FileNotFoundError, ConnectionRefusedError):  # it was stopped before it could be told anything
        return failed(tag, {"kind": "stopping"})
    channel.send({"op": "candidate", "order": order})
    while (event := channel.receive(order["ready_timeout"] + 10.0)) is not None:
        if event["event"] == "ready":
            channel.send({"op": "activate", "version": facts["version"], "bundle": order["bundle"]})
        elif event["event"] == "active":
            print(
                f"{tag} answers at {event['url']}\n  token  {token}\n  log    {service / 'service.log'}\n  Ctrl-C stops it",
                flush=True,
            )
            return 0
        elif event["event"] != "phase":
            break
    return failed(tag, event)


def failed(tag: str, event: dict[str, Any] | None) -> int:
    kind, fact = (event or {}).get("kind"), (event or {}).get("fact", "its supervisor has ended")
    if kind == "stopping":
        print(EARLY, file=sys.stderr, flush=True)
        return 130
    step = "choose another with --port" if kind == "port" else "nothing is running"
    lines = [f"{tag} {fact}; {step}.", *(f"  - {item}" for item in (event or {}).get("findings", ()))]
    print("\n".join([*lines, str((event or {}).get("log", ""))]).rstrip(), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
        print("Stopped; nothing is running.", file=sys.stderr)
    sys.exit(code)
