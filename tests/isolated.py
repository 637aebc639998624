"""`python isolated.py REQUESTS.json COMMAND...`: run COMMAND where there is loopback and no other network, and ask it.

Prints one JSON object: what the command printed, the answers to the requests, its exit code after SIGTERM, and the routes and
listeners there were meanwhile. It is started under `unshare --net`.
"""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
LISTENING = "0A"


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(sock, SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def listeners() -> list[str]:
    """Addresses, as hexadecimal in network order of this machine."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return sorted({row[1].partition(":")[0] for row in rows if row[3] == LISTENING})


def routes() -> list[str]:
    return Path("/proc/net/route").read_text().splitlines()[1:]


def ask(url: str, token: str, request: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"rows": request["rows"]}).encode()
    asked = urllib.request.Request(f"{url}/{request['method']}", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return json.loads(reply.read())


def main(requests: str, *command: str) -> None:
    raise_loopback()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        found = asked_of(process, json.loads(Path(requests).read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[0]
    found["said"] += rest.splitlines()
    print(json.dumps(found | {"code": process.returncode}))


def asked_of(process: subprocess.Popen[str], requests: list[dict[str, Any]]) -> dict[str, Any]:
    said: list[str] = []
    for line in process.stdout or ():
        said.append(line.rstrip())
        if "Ctrl-C stops it" in line:
            break
    found: dict[str, Any] = {"said": said, "answers": [], "listeners": listeners(), "routes": routes()}
    url, token = (re.search(pattern, "\n".join(said)) for pattern in (r"http://\S+", r"token +(.+)"))
    if url and token:
        found["token_file"] = token[1]
        found["answers"] = [ask(url[0], Path(token[1]).read_text().strip(), item) for item in requests]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
