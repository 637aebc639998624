"""Who may ask what: method and route, Host, Origin, token, content type and declared size, in this order.

A route is served only when it stands in the table made here; BentoML's own routes have a decision each, and a test
compares the two tables with what BentoML really serves.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .schema import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOSTS_VARIABLE = "NBDEPLOY_ALLOWED_HOSTS"
BENTOML_SERVED = ("/", "/schema.json", "/docs.json")
BENTOML_ASSETS = "/static_content/"  # what `/` shows /docs.json with

Headers = tuple[tuple[bytes, bytes], ...]
WANTED = {
    b"host": 0,
    b"origin": 1,
    b"authorization": 2,
    b"content-type": 3,
    b"content-length": 4,
    b"transfer-encoding": 5,
}
JSON_TYPE = re.compile(rb'application/json(?:\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
ASSET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class GateRefusal(Refusal):
    """A refusal with headers of its own (Allow, WWW-Authenticate); `ended`: the whole body has been read."""

    headers: Headers = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """`kind`: predict | feedback | health | metrics | metadata | bentoml. `label` is its name in metrics."""

    method: str
    kind: str
    label: str
    served: str = ""  # the model's method


def routes(methods: Iterable[str], *, bentoml: bool) -> dict[bytes, Route]:
    table = {
        b"/livez": Route("GET", "health", "/livez"),
        b"/readyz": Route("GET", "health", "/readyz"),
        b"/metrics": Route("GET", "metrics", "/metrics"),
        b"/metadata": Route("GET", "metadata", "/metadata"),
        b"/feedback": Route("POST", "feedback", "/feedback"),
    }
    if bentoml:
        table |= {path.encode(): Route("GET", "bentoml", path) for path in BENTOML_SERVED}
    for name in methods:
        table[f"/{name}".encode()] = Route("POST", "predict", f"/{name}", name)
    return table


def allowed_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts of NBDEPLOY_ALLOWED_HOSTS, beside loopback; "*" allows any (behind a proxy that checks)."""
    return tuple(host.strip().lower() for host in environ.get(HOSTS_VARIABLE, "").split(",") if host.strip())


class Gate:
    """`token_sha256`: hexadecimal; None leaves the service open."""

    def __init__(
        self, table: Mapping[bytes, Route], *, hosts: Sequence[str] = (), token_sha256: str | None, max_body: int
    ) -> None:
        self._table = table
        self._hosts = frozenset((*LOOPBACK, *hosts))
        self._token = None if token_sha256 is None else token_sha256.removeprefix("sha256:").encode()
        self._max_body = max_body
        self._assets = Route("GET", "bentoml", BENTOML_ASSETS) if b"/" in table else None
        self._known: set[bytes] = set()

    def check(self, route: Route, scope: Mapping[str, Any]) -> None:
        """Raises Refusal."""
        if scope["method"] != route.method:
            raise _wrong_method(route)
        if route.kind == "health":
            return
        found: list[bytes | None] = [None] * 6
        for name, value in scope["headers"]:
            slot = WANTED.get(name)
            if slot is not None:
                if found[slot] is not None:
                    raise _doubled(slot)
                found[slot] = value
        self._check_host(found[0])
        if found[1] is not None:
            self._check_origin(found[1])
        if self._token is not None:
            self._check_token(found[2])
        if route.method == "POST":
            self._check_body(found[3], found[4], found[5])

    def route(self, scope: Mapping[str, Any]) -> Route:
        """By the path as it was sent: an encoded one is not ours. Raises Refusal 404."""
        raw = scope.get("raw_path") or scope["path"].encode()
        route = self._table.get(raw)
        if route is not None:
            return route
        text = raw.decode("latin-1")
        if self._assets and text.startswith(BENTOML_ASSETS) and ASSET.fullmatch(text.removeprefix(BENTOML_ASSETS)):
            return self._assets
        raise Refusal(404, "not_found", "There is no such route; GET /metadata lists them.", [])

    def _check_host(self, value: bytes | None) -> None:
        if value in self._known or "*" in self._hosts:
            return
        if value is None or host_of(value.decode("latin-1")) not in self._hosts:
            raise Refusal(403, "host_not_allowed", f"This Host is not allowed; {HOSTS_VARIABLE} adds hosts.", [])
        if len(self._known) < 1_024:
            self._known.add(value)

    def _check_origin(self, value: bytes) -> None:
        parts = value.decode("latin-1").partition("://")
        if parts[0] in {"http", "https"} and ("*" in self._hosts or host_of(parts[2]) in self._hosts):
            return
        raise Refusal(403, "origin_not_allowed", f"This Origin is not allowed; {HOSTS_VARIABLE} adds hosts.", [])

    def _check_token(self, value: bytes | None) -> None:
        scheme, _, token = (value or b"").partition(b" ")
        # RFC 9110, 11.1: the scheme's case does not matter.
        given = hashlib.sha256(token).hexdigest().encode()
        if self._token is None or not hmac.compare_digest(given, self._token) or scheme.lower() != b"bearer":
            raise _unauthorized()

    def _check_body(self, content_type: bytes | None, declared: bytes | None, coding: bytes | None) -> None:
        if content_type != b"application/json" and not JSON_TYPE.fullmatch(content_type or b""):
            raise Refusal(415, "not_json", "Send the body as Content-Type: application/json.", [])
        if declared is not None and int(declared) > self._max_body:
            raise too_large(self._max_body)
        if coding is not None and coding.strip().lower() != b"chunked":
            raise Refusal(400, "bad_framing", "Send the body as it is or chunked, in no other transfer coding.", [])


def host_of(authority: str) -> str | None:
    """The host of "host:port" or "[::1]:port" in small letters; None where that is not what it is."""
    try:
        parts = urlsplit(f"//{authority}")
        parts.port  # noqa: B018  # raises ValueError for a port that is none
    except ValueError:
        return None
    return parts.hostname if parts.netloc == authority and not {"@", "%"} & set(authority) else None


def too_large(limit: int, *, ended: bool = False) -> Refusal:
    text = f"The body is larger than {limit:,} bytes; send fewer rows at once."
    refusal = GateRefusal(413, "body_too_large", text, [])
    refusal.ended = ended
    return refusal


def _doubled(slot: int) -> Refusal:
    if slot == WANTED[b"authorization"]:
        return _unauthorized()
    if slot in {WANTED[b"host"], WANTED[b"origin"]}:
        return Refusal(403, "host_not_allowed", "Host and Origin may be sent once only.", [])
    if slot == WANTED[b"content-type"]:
        return Refusal(415, "not_json", "Send the body as Content-Type: application/json.", [])
    return Refusal(400, "bad_framing", "The length of the body is stated twice.", [])


def _unauthorized() -> Refusal:
    refusal = GateRefusal(401, "unauthorized", "Send the service's token as Authorization: Bearer TOKEN.", [])
    refusal.headers = ((b"www-authenticate", b'Bearer realm="nbdeploy"'),)
    return refusal


def _wrong_method(route: Route) -> Refusal:
    refusal = GateRefusal(405, "method_not_allowed", f"This route takes {route.method} only.", [])
    refusal.headers = ((b"allow", route.method.encode()),)
    return refusal
