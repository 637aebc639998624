"""Who has a port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.errors import PortTaken
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from pathlib import Path


def taken(name: str, port: int, services: Path) -> PortTaken:
    """The error that names the service of ours, or the process, that listens there."""
    for folder in sorted(services.glob("*")):
        state = State.read(folder)
        if state is not None and state.port == port and state.name != name and state.process.alive():
            return PortTaken(name, f"port {port} is that of the service {state.name}")
    return PortTaken(name, f"port {port} is taken by {_holder(port)}")


def _holder(port: int) -> str:
    import psutil

    try:
        found = {item.pid for item in psutil.net_connections("tcp") if item.laddr and item.laddr.port == port}
        pid = next((pid for pid in found if pid), None)
        if pid is not None:
            return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:  # macOS shows only one's own, and a process may end as we look
        pass
    return "another process"
