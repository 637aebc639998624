"""Which process: a pid alone is not enough, the number is used again.

A process is named by pid, start and boot: the start as its kernel counts it, the boot with the pid namespace, so that a
state file read in another container or after a restart of the machine names nobody.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    start: str
    boot: str

    @classmethod
    def current(cls) -> Process:
        return cls(os.getpid(), start_of(os.getpid()) or "", boot())

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, start_of(pid) or "", boot())

    def alive(self) -> bool:
        return self.boot == boot() and bool(self.start) and start_of(self.pid) == self.start

    def elsewhere(self) -> bool:
        """Whether this machine and namespace cannot tell if it lives."""
        return self.boot.partition(" ")[0] == boot().partition(" ")[0] and self.boot != boot()

    def signal(self, number: signal.Signals) -> bool:
        """Send it, but never to a stranger; False if the process is gone."""
        try:
            handle = os.pidfd_open(self.pid) if sys.platform == "linux" else None
        except OSError:
            return False
        try:
            if not self.alive():
                return False
            if handle is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def wait(self, timeout: float) -> bool:
        """Whether it is gone within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._pause(left)
        return True

    def _pause(self, left: float) -> None:
        """Until it ends, where the system can tell; else a moment."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(self.pid)
                try:
                    select.select([handle], [], [], left)
                finally:
                    os.close(handle)
                return
        time.sleep(min(left, 0.02))


def start_of(pid: int) -> str | None:
    """When the process began, in its system's own words; None if there is none, or only its exit status is left."""
    return _start_by_proc(pid) if sys.platform == "linux" else _start_by_ps(pid)


def _start_by_proc(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else rest[18]


def _start_by_ps(pid: int) -> str | None:
    text = _output("/bin/ps", "-o", "stat=,lstart=", "-p", str(pid))
    state, _, started = text.partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def boot() -> str:
    if sys.platform == "linux":
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{name} {Path('/proc/self/ns/pid').readlink()}"
    else:  # noqa: RET505 - for the type checker this is another platform, not dead code
        return _output("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
