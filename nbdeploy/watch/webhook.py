"""A webhook: one POST of a message as JSON, to the address that was checked, and its status. Nothing else is believed.

    POST /path HTTP/1.1
    Content-Type: application/json
    Idempotency-Key: the message's id, the same at each try

Redirects are not followed, proxies not used, the reply is read up to its head's end and no further, and all of it has one
time limit, so that no other side can hold a watcher.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import math
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from nbdeploy.errors import DeliveryFailed
from nbdeploy.watch.reach import NotAllowed

if TYPE_CHECKING:
    from nbdeploy.watch.message import Message
    from nbdeploy.watch.reach import Reach

CONNECT = 5.0  # seconds
WHOLE = 10.0  # seconds, connecting included
HEAD = 16_384  # bytes of a reply
LONGEST_WAIT = 3600.0  # seconds a Retry-After may ask for
PORTS = {"http": 80, "https": 443}


def post(channel: str, url: str, message: Message, reach: Reach) -> None:
    """Return if the answer was 2xx. Raises DeliveryFailed, whose words never repeat the address's path."""
    parts = _parts(channel, url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    deadline = time.monotonic() + WHOLE
    try:
        address = reach.address(host, port)
        with _connected(parts.scheme, host, (address, port), deadline) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(_request(parts, host, message))
            status, headers = _head(connection, deadline)
    except NotAllowed as exc:
        raise DeliveryFailed(channel, str(exc)) from None
    except TimeoutError:
        raise DeliveryFailed(channel, f"{host}:{port} did not answer within {WHOLE:g} s") from None
    except ssl.SSLError as exc:
        raise DeliveryFailed(
            channel, f"{host}:{port} has no TLS that can be trusted: {exc.reason or 'broken'}"
        ) from None
    except OSError as exc:
        raise DeliveryFailed(
            channel, f"{host}:{port} cannot be reached: {exc.strerror or type(exc).__name__}"
        ) from None
    except (http.client.HTTPException, ValueError):
        raise DeliveryFailed(channel, f"{host}:{port} answered with something that is not HTTP") from None
    if not 200 <= status < 300:
        raise DeliveryFailed(channel, f"{host}:{port} answered with {status}{_meaning(status)}", _after(headers))


def _parts(channel: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fine = bool(parts.hostname) and parts.scheme in PORTS and (parts.port or 1) > 0
        _target(parts).encode("ascii")
    except ValueError:
        fine = False
    if not fine or any(char in url for char in "\r\n\t "):
        raise DeliveryFailed(
            channel, "its address is no URL of a webhook (http:// or https://, of ASCII, without blanks)"
        )
    return parts


def _connected(scheme: str, host: str, address: tuple[str, int], deadline: float) -> socket.socket:
    """TLS is for the host that is meant, whatever its address."""
    connection = socket.create_connection(address, timeout=CONNECT)
    if scheme == "http":
        return connection
    try:
        secured = ssl.create_default_context().wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False
        )
    except BaseException:  # until it is wrapped, nobody else closes it
        connection.close()
        raise
    end = threading.Timer(_left(deadline), _shut, (secured,))  # time-outs are of one reading, a handshake has many
    end.start()
    try:
        secured.do_handshake()
    except BaseException:  # whatever ends the handshake, nobody else holds this socket
        secured.close()
        raise
    finally:
        end.cancel()
    return secured


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _request(parts: SplitResult, host: str, message: Message) -> bytes:
    body = json.dumps(_strict(message.body()), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    named = f"[{host}]" if ":" in host else host.encode("idna").decode()
    head = {
        "Host": named if parts.port is None else f"{named}:{parts.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Idempotency-Key": message.id,
        "User-Agent": "nbdeploy",
        "Accept": "*/*",
        "Connection": "close",
    }
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        head["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    lines = [f"POST {_target(parts)} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def _target(parts: SplitResult) -> str:
    return f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"


def _head(connection: socket.socket, deadline: float) -> tuple[int, http.client.HTTPMessage]:
    """Status and headers of the final reply; `100 Continue` and its like are passed over."""
    seen = b""
    while True:
        while b"\r\n\r\n" not in seen:
            connection.settimeout(_left(deadline))
            more = connection.recv(4096)
            seen += more
            if not more or len(seen) > HEAD:
                raise http.client.BadStatusLine("")
        head, _, seen = seen.partition(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        version, status = line.split(None, 2)[:2]
        if not version.startswith(b"HTTP/1.") or len(status) != 3:
            raise http.client.BadStatusLine("")
        if not 100 <= int(status) < 200:
            return int(status), http.client.parse_headers(io.BytesIO(rest + b"\r\n\r\n"))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _after(headers: http.client.HTTPMessage) -> float | None:
    """Seconds, where the other side says when to come again."""
    text = (headers.get("Retry-After") or "").strip()
    return min(float(text), LONGEST_WAIT) if text.isdecimal() and len(text) < 9 else None


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return ", a redirect, which is not followed: give the address it leads to"
    return {401: ", not allowed", 403: ", not allowed", 404: ", nothing there", 410: ", gone"}.get(status, "")


def _strict(value: Any) -> Any:
    """JSON has no NaN and no infinities: null, and texts as in the service's own replies."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
