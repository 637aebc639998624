"""Is the service in this container ready? Run as a file by the image's HEALTHCHECK: nothing but a socket, 20 ms."""

from __future__ import annotations

import socket
import sys

PORT = 3000  # as in listener.py; this file is run alone, and imports nothing of ours
PATIENCE = 4.0  # seconds


def ready() -> bool:
    try:
        with socket.create_connection(("127.0.0.1", PORT), PATIENCE) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = connection.recv(64)
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200 ")


if __name__ == "__main__":
    sys.exit(0 if ready() else 1)
