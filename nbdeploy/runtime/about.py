"""Everything a service answers beside predictions: health, metrics, metadata, and what BentoML's clients ask for."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from .exposition import CONTENT_TYPE
from .replies import RETRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from .app import App
    from .exchange import Exchange
    from .gate import Route

# BentoML's page loads a tag manager from elsewhere; a browser is told to load from here alone.
OWN_ONLY = (b"content-security-policy", b"default-src 'self' 'unsafe-inline' data:")


class About:
    def __init__(self, app: App, fallthrough: Callable[[], Any] | None) -> None:
        self._app = app
        self._build = fallthrough or _nothing
        self._bentoml: asyncio.Future[Any] | None = None

    async def answer(self, route: Route, exchange: Exchange) -> None:
        if route.kind == "bentoml":
            await self._bentoml_answer(exchange)
        elif route.label == "/livez":
            await exchange.reply(200, b'{"state":"live"}')
        elif route.label == "/readyz":
            ready = self._app.ready
            await exchange.reply(200 if ready else 503, self.readiness(), () if ready else RETRY)
        elif route.kind == "metrics":
            await exchange.reply(200, self.metrics(), kind=(b"content-type", CONTENT_TYPE))
        else:
            await exchange.reply(200, self.metadata())

    def readiness(self) -> bytes:
        identity = self._app.identity
        return to_json(
            {
                "name": identity.name,
                "version": identity.label,
                "digest": identity.digest,
                "nonce": identity.nonce,
                "state": self._app.state,
            }
        )

    def metrics(self) -> bytes:
        self._app.note_process()
        return self._app.metrics.text()

    def metadata(self) -> bytes:
        manifest = self._app.model.manifest
        identity = self._app.identity
        return to_json(
            {
                "name": identity.name,
                "version": identity.label,
                "digest": identity.digest,
                "title": manifest.title,
                "created": manifest.created,
                "model": manifest.model,
                "methods": [asdict(method) | {"route": f"/{method.name}"} for method in manifest.methods],
                "schema": asdict(manifest.schema),
                "input": self._app.model.contract.json_schema(),
                "limits": asdict(self._app.limits),
                "metrics": manifest.metrics,
            },
            inf_nan_mode="null",
            fallback=str,
        )

    async def _bentoml_answer(self, exchange: Exchange) -> None:
        if self._bentoml is None:
            # Building takes more than a second; predictions go on meanwhile.
            self._bentoml = asyncio.get_running_loop().run_in_executor(None, self._build)
        app = await asyncio.shield(self._bentoml)
        if exchange.scope["path"] == "/docs.json":
            await self._documents(app, exchange)
            return

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                own = ((b"x-request-id", exchange.request_id.encode()), OWN_ONLY)
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await exchange.send(message)

        await app(exchange.scope, exchange.receive, marked)

    async def _documents(self, app: Any, exchange: Exchange) -> None:
        """BentoML's document, with what is true of this service in place of words about BentoML."""
        status, parts = 500, []

        async def collect(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await app(exchange.scope, exchange.receive, collect)
        body = b"".join(parts)
        if status == 200:
            manifest, identity = self._app.model.manifest, self._app.identity
            text = f"{manifest.title}: {manifest.model.get('class', 'a model')} deployed with nbdeploy."
            info = {"title": identity.name, "version": identity.label, "description": text}
            body = to_json(from_json(body) | {"info": info})
        await exchange.reply(status, body, (OWN_ONLY,))


def _nothing() -> Any:
    raise RuntimeError("the gate lets nothing through to BentoML here")
