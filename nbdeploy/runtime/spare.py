"""A worker that imports what it will need while its bundle is still being made.

It runs as a script of the supervisor's own copy of this package, before there is a bundle: it stands alone. Told of its
bundle it becomes the bundle's host, unless it has imported something the bundle's lock does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

PACKAGES = {"site-packages", "dist-packages"}


def main(descriptor: int) -> None:
    sock = socket.socket(fileno=descriptor)
    inbox = Inbox(sock)
    told = inbox.next()
    _beside("parent").die_with_parent(told["parent"])
    before = set(sys.modules)
    prepare(told["modules"], told["allowed"])
    spec = inbox.next()
    spec.update(zip(("public", "private"), inbox.descriptors, strict=False))
    foreign = strangers(Path(spec["src"]), before)
    if foreign:
        sock.sendall(json.dumps({"event": "unfit", "modules": foreign}).encode() + b"\n")
        sock.recv(1)  # the supervisor ends this process
        return
    os.chdir(spec["src"])
    sys.path.insert(0, spec["src"])
    import_module("nbdeploy_runtime.host").begin(spec, sock)


def prepare(modules: list[str], allowed: list[str]) -> None:
    """Import as a clean environment would: what is not allowed is not there, so optional imports do without it."""
    guard = _beside("environment").install_guard(allowed, ())
    for name in modules:
        with contextlib.suppress(Exception):  # a module that cannot be imported is missed when it is needed
            import_module(name)
    guard.remove()


def strangers(src: Path, before: set[str]) -> list[str]:
    """What has been imported from outside the standard library and the bundle's lock; every start imports `before`."""
    lock = json.loads((src / "manifest.json").read_bytes())["environment"]["modules"]
    known = {*lock, *sys.stdlib_module_names}
    places = {_top(module) for name, module in list(sys.modules.items()) if name not in before}
    return sorted(place for place in places if place is not None and place not in known)


def _top(module: Any) -> str | None:
    """The name of the module's outermost folder or file in site-packages; None if it lies elsewhere.

    Not always its own first name: scipy's extension modules import each other as _ni_label and the like.
    """
    origin = str(getattr(getattr(module, "__spec__", None), "origin", None))
    for folder in sys.path:
        if Path(folder).name in PACKAGES and origin.startswith(folder + os.sep):
            return origin[len(folder) + 1 :].partition(os.sep)[0].partition(".")[0]
    return None


def _beside(name: str) -> Any:
    """A module beside this file that stands alone as well; under a name of its own."""
    spec = spec_from_file_location(f"nbdeploy_spare_{name}", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Inbox:
    """Lines from the supervisor, and the descriptors that came with them."""

    def __init__(self, sock: socket.socket) -> None:
        self.descriptors: list[int] = []
        self._socket = sock
        self._rest = b""

    def next(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 65_536, 2)
            if not data:
                sys.exit(0)
            self._rest += data
            self.descriptors += descriptors
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


if __name__ == "__main__":
    main(int(sys.argv[1]))
