"""A model without a bundle, for the tests of the runtime: twice x, and what tests want to happen."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from nbdeploy.runtime.app import App, Identity, Limits
from nbdeploy.runtime.manifest import Column, Manifest, Method, Output, Schema
from nbdeploy.runtime.schema import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.runtime.model import ServedModel

TOKEN = "a-token-for-tests"  # of services that live for one test
TOKEN_SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
DIGEST = "sha256:" + "ab" * 32
SCHEMA = Schema("frame", (Column("x", "number", "float64"),), library="pandas", keys=("id",))


def manifest(*methods: Method, schema: Schema = SCHEMA) -> Manifest:
    return Manifest(
        format=1,
        name="toy",
        title="Toy",
        model={"class": "Toy", "task": "regression"},
        methods=methods or (Method("predict", Output("array", "float64")),),
        schema=schema,
        artefact="model.pkl",
        environment={},
        code={},
        files={},
        digest=DIGEST,
        created="2026-01-01T00:00:00Z",
    )


@dataclass
class Toy:
    """`before` is called with the rows of each call of the model; it may raise, wait, or end the process."""

    manifest: Manifest = field(default_factory=manifest)
    before: Callable[[Sequence[Any]], object] = len
    calls: list[int] = field(default_factory=list)

    @property
    def contract(self) -> Contract:
        return Contract(self.manifest.schema)

    def answer(self, method: str, rows: Sequence[Any]) -> list[Any]:
        self.calls.append(len(rows))
        self.before(rows)
        return [2 * row["x"] for row in rows]


def app_of(
    toy: Toy | None = None, *, version: str | None = "1.0.0", limits: Limits | None = None, **options: Any
) -> App:
    """A ready app; open unless `token_sha256` is given."""
    options.setdefault("token_sha256", None)
    identity = Identity("toy", version, DIGEST, "nonce")
    app = App(cast("ServedModel", toy or Toy()), identity, limits=limits, hosts=(), **options)
    app.ready = True
    return app


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=_refuse_constant)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


def rows(*values: float) -> bytes:
    return json.dumps({"rows": [{"x": value} for value in values]}).encode()


def scope(verb: str, path: str, headers: dict[str, str] | Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    given = headers.items() if isinstance(headers, dict) else headers
    listed = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
    if not any(name == b"host" for name, _ in listed):
        listed.append((b"host", b"127.0.0.1:3000"))
    return {"type": "http", "method": verb, "path": path, "raw_path": path.encode(), "headers": listed}


async def ask(
    app: App,
    verb: str = "POST",
    path: str = "/predict",
    *,
    body: bytes = b"",
    headers: dict[str, str] | Sequence[tuple[str, str]] | None = None,
    pieces: Sequence[bytes] | None = None,
    client: tuple[str, int] | None = None,
) -> Reply:
    """One exchange; `pieces` arrive one after the other, without an announced length."""
    if headers is None:
        headers = {"content-type": "application/json"}
    listed = list(headers.items() if isinstance(headers, dict) else headers)
    parts = list(pieces) if pieces is not None else [body]
    listed.append(("transfer-encoding", "chunked") if pieces is not None else ("content-length", str(len(body))))
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:  # as ASGI wants it
        sent.append(message)

    await app(scope(verb, path, listed) | {"client": client}, receive, send)
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


async def idle(app: App) -> None:
    """Until the app holds no request, for five seconds at most."""
    for _ in range(500):
        if not app.in_flight:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{app.in_flight} requests are still in flight")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not strict JSON")
