"""The BentoML service of a bundle: ours answers first, BentoML only what it does not.

BentoML's own pipeline costs milliseconds a request, takes any Host, Origin and size, and sheds load early. A service
class whose `to_asgi` puts our application around BentoML's answers before it. Where a release of BentoML has no
`service_class`, the same class is a middleware inside BentoML's: slower, the same answers.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import bentoml
from pydantic import WithJsonSchema

from .manifest import Manifest
from .schema import Contract
from .standalone import Standalone

if TYPE_CHECKING:
    from pathlib import Path

    from .exchange import Receive, Send


class Front:
    """An ASGI app, or a middleware, before BentoML's own."""

    def __init__(self, app: Any, *, standalone: Standalone) -> None:
        self._inner = app
        self._standalone = standalone

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await asyncio.to_thread(self._standalone.start, self._inner)
            await self._inner(scope, receive, send)
            return
        await self._standalone.start(self._inner)(scope, receive, send)


def define(src: Path, *, outermost: bool = True) -> Any:
    """The service for the bundle in `src`; `outermost` False takes the way of a middleware."""
    manifest = Manifest.load(src)
    standalone = Standalone(src)
    options: dict[str, Any] = {"name": manifest.name, "metrics": {"enabled": False}}
    outermost = outermost and "service_class" in inspect.signature(bentoml.service).parameters
    if outermost:
        options["service_class"] = _outer(standalone)
    service = bentoml.service(**options)(_inner(manifest))
    if not outermost:
        service.add_asgi_middleware(Front, standalone=standalone)
    return service


def own_app(src: Path) -> Any:
    """BentoML's app alone: its documents for its clients. Only once in a process."""
    manifest = Manifest.load(src)
    return bentoml.service(name=manifest.name, metrics={"enabled": False})(_inner(manifest)).to_asgi(is_main=True)


def _outer(standalone: Standalone) -> Any:
    from _bentoml_sdk import Service

    class Outer(Service):  # type: ignore[misc]  # it has no types here
        __slots__ = ()

        def to_asgi(self, is_main: bool = True) -> Any:  # noqa: ARG002  # False would take pickles as bodies
            return Front(super().to_asgi(is_main=True), standalone=standalone)

    return Outer


def _inner(manifest: Manifest) -> type:
    """A class with a typed method for each served one, so that BentoML's documents and clients know them."""
    rows = Contract(manifest.schema).json_schema()["properties"]["rows"]
    methods = {method.name: _api(method.name, rows) for method in manifest.methods}
    text = f"{manifest.title}: {manifest.model.get('class', 'a model')} deployed with nbdeploy."
    return type("ModelService", (), {"__doc__": text, **methods})


def _api(name: str, rows_schema: dict[str, Any]) -> Any:
    async def call(self: Any, rows: list[Any]) -> dict[str, Any]:  # noqa: ARG001  # what BentoML sees of us
        raise bentoml.exceptions.ServiceUnavailable("this route is answered before BentoML")

    call.__name__ = name
    call.__doc__ = f"The model's {name} for each row, in row order."
    call.__annotations__ = {
        "rows": Annotated[list[Any], WithJsonSchema(rows_schema)],
        "return": Annotated[dict[str, Any], WithJsonSchema(ANSWER)],
    }
    return bentoml.api(call, route=f"/{name}")


ANSWER = {
    "type": "object",
    "properties": {
        "predictions": {"type": "array", "items": {}},
        "version": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "required": ["predictions", "version", "request_id"],
}
