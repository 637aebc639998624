"""A bundle that needs no model: the host's real code with a small application, made in milliseconds.

Its `behaviour` is read when it is loaded: fail, memory, exit, segfault, sleep, differs, and version texts.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

import nbdeploy
from nbdeploy.errors import NotRunning
from nbdeploy.run import tokens
from nbdeploy.run.launcher import Launch

if TYPE_CHECKING:
    from nbdeploy.run.local import LocalLauncher
    from nbdeploy.settings import Settings

RUNTIME = Path(nbdeploy.__file__).parent / "runtime"

MODEL = """
import ctypes, json, os, time
from pathlib import Path
class ServedModel:
    @classmethod
    def load(cls, src, *, guard=False):
        model = cls()
        model.src = Path(src)
        model.behaviour = json.loads((Path(src) / "behaviour.json").read_bytes())
        does = model.behaviour.get("load")
        print("loading", does, flush=True)
        if does == "fail":
            raise ValueError("no such attribute: lock_")
        if does == "memory":
            raise MemoryError
        if does == "exit":
            raise SystemExit(3)
        if does == "quit":
            os._exit(3)
        if does == "segfault":
            ctypes.string_at(0)
        if does == "sleep":
            time.sleep(60)
        time.sleep(model.behaviour.get("seconds", 0))
        return model
    def verify(self):
        return self.behaviour.get("findings", [])
"""

APP = """
import asyncio, ctypes, gc, json, os, time
from dataclasses import dataclass
@dataclass
class Identity:
    name: str
    version: str | None
    digest: str
    nonce: str = ""
    worker: int = 0
    workers: int = 1
@dataclass
class Limits:
    predict_timeout: float = 30.0
class App:
    def __init__(self, model, identity, *, token_sha256, log=None, feedback=None, limits=None, fallthrough=None):
        self.model, self.identity, self.ready, self.log = model, identity, False, log
        self.n = 0
        self.noted = 0
        self.slow = 0
        self.stuck = None
    def close(self):
        pass
    def note_process(self):
        self.noted += 1
    @property
    def busy_for(self):
        return time.monotonic() - self.stuck if self.stuck else 0.0
    async def __call__(self, scope, receive, send):
        path = scope["path"]
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        if path == "/slow":
            self.slow += 1
            await asyncio.sleep(1.5)
            self.slow -= 1
        if path == "/slower":
            self.slow += 1
            await asyncio.sleep(20)
        if path == "/stick":
            self.stuck = time.monotonic()
        if path == "/block":
            time.sleep(float(body))
        if path == "/crash":
            ctypes.string_at(0)
        if path == "/exit":
            os._exit(7)
        self.n += 1
        told = {"name": self.identity.name, "version": self.identity.version, "digest": self.identity.digest,
                "nonce": self.identity.nonce, "state": "ready", "slow": self.slow, "n": self.n, "pid": os.getpid(), "worker": self.identity.worker, "workers": self.identity.workers, "noted": self.noted, "path": path, "frozen": gc.get_freeze_count(),
                "environ": dict(os.environ) if path == "/environ" else None, "cwd": os.getcwd()}
        data = json.dumps(told).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(data))]})
        await send({"type": "http.response.body", "body": data})
"""

PREDLOG = """
class PredictionLog:
    def __init__(self, folder, **options):
        self.folder = folder
    def rest(self):
        pass
"""


def bundle(settings: Settings, number: int = 1, **behaviour: Any) -> Path:
    """A bundle folder; its digest is `digest(number)`."""
    folder = settings.bundles / f"standin@{number}"
    src = folder / "src"
    shutil.copytree(RUNTIME, src / "nbdeploy_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in (("model", MODEL), ("app", APP), ("predlog", PREDLOG)):
        (src / "nbdeploy_runtime" / f"{name}.py").write_text(text)
    (src / "behaviour.json").write_text(json.dumps(behaviour))
    return folder


def digest(number: int = 1) -> str:
    return f"sha256:{number:064x}"


def launch(
    settings: Settings, number: int = 1, *, name: str = "standin", again: bool = False, **options: Any
) -> Launch:
    """What a workspace would ask for; options of Launch, and the bundle's behaviour as `does`."""
    does = options.pop("does", {})
    folder = settings.services / name
    path = settings.bundles / f"standin@{number}"
    if not again or not path.exists():
        path = bundle(settings, number, **does)
    options.setdefault("token_sha256", tokens.sha256(tokens.ensure(folder)))
    return Launch(
        name=name,
        bundle=path,
        digest=digest(number),
        python=Path(sys.executable),
        folder=folder,
        registry=settings.registry,
        **options,
    )


def registry(settings: Settings, name: str, number: int, version: str) -> None:
    """A registry that says this is live."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(settings.registry)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS live (name TEXT PRIMARY KEY, version TEXT, digest TEXT, bundle TEXT)")
        path = str(settings.bundles / f"standin@{number}")
        db.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?)", (name, version, digest(number), path))


def deploy(launcher: LocalLauncher, launch: Launch, version: str) -> str:
    """Without a registry; returns the url."""
    return launcher.prepare(launch, quiet).activate(version, launch.bundle)


def quiet(_: str) -> None:
    pass


def stop_all(launcher: LocalLauncher, settings: Settings) -> None:
    """What is left after a test must be nothing."""
    for folder in settings.services.glob("*"):
        with suppress(NotRunning):
            launcher.stop(folder.name, folder)
    assert not processes(settings)


def processes(settings: Settings) -> list[int]:
    """Every supervisor and worker: those whose command line names this test's home, and the children of those."""
    found = {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(settings.home) in part for part in process.info["cmdline"] or ())
    }
    found |= {child.pid for pid in found for child in _children(pid)}
    return [pid for pid in found if pid != os.getpid() and _alive(pid)]


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
