"""How a kernel that we start is spoken to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 100  # bytes of a unix socket's path: macOS takes 103, Linux 107


def sockets(folder: Path) -> dict[str, str]:
    """Settings of jupyter_client's `KernelManager`: unix sockets in `folder`, which lives as long as the kernel.

    Over TCP the manager picks five free ports, lets go of them and names them to the kernel, which ends at its start where
    somebody else has one of them by then. Only where there is no room for a socket's path it has to be TCP.
    """
    prefix = str(folder / "kernel")
    if sys.platform == "win32" or len(os.fsencode(prefix)) + len("-5") > LONGEST:
        return {"transport": "tcp", "transport_encryption": "auto"}
    return {"transport": "ipc", "ip": prefix}
