"""Calling a service: frames in, what the model in the kernel would return out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CallRefused, NotFound, Unreachable, Unsupported, UnsupportedData
from nbdeploy.run.transport import Http

if TYPE_CHECKING:
    from nbdeploy.run.transport import Answer, Transport
    from nbdeploy.runtime.manifest import Manifest, Method, Schema


@dataclass(frozen=True, slots=True)
class Interface:
    """What a client must know of a service to speak to it."""

    schema: Schema
    methods: dict[str, Method]

    @classmethod
    def of(cls, manifest: Manifest) -> Interface:
        return cls(manifest.schema, {method.name: method for method in manifest.methods})

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> Interface:
        from nbdeploy.runtime.manifest import method_from, schema_from

        methods = [method_from({key: item[key] for key in item if key != "route"}) for item in metadata["methods"]]
        return cls(schema_from(metadata["schema"]), {method.name: method for method in methods})


class Client:
    """`manifest` spares asking the service for its /metadata. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        manifest: Manifest | None = None,
        transport: Transport | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.url = url
        self._token = token
        self._transport = transport or _transport(url, timeout)
        self._interface = Interface.of(manifest) if manifest else None

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def call(self, method: str, rows: Any) -> Any:
        """What the method itself would return.

        Raises:
            CallRefused: with the service's own words.
            NotFound: a method it has not.
            UnsupportedData: the rows cannot be sent.
            Unsupported: the answer is of a library that is not installed here.
            Unreachable.
        """
        from nbdeploy.runtime import answers

        interface = self.interface()
        known = interface.methods.get(method)
        if known is None:
            raise NotFound("method", method, sorted(interface.methods))
        given = self.rows(rows, asked_by=method)
        predictions = self.predictions(method, given)
        index = rows.index if hasattr(rows, "iloc") else None
        try:
            return answers.decode(known.output, predictions, index=index)
        except ModuleNotFoundError as exc:
            library = (exc.name or "").partition(".")[0]
            raise Unsupported(
                f"Giving back what {method} returns, something of {library},",
                f"install it where you ask from: python -m pip install {library}",
            ) from exc

    def rows(self, rows: Any, *, asked_by: str = "the service") -> list[Any]:
        """The rows as JSON has them. Raises UnsupportedData."""
        from nbdeploy.runtime import tables

        try:
            return tables.rows_of(self.interface().schema, rows)
        except tables.SingleRow as exc:
            raise UnsupportedData(f"what {asked_by} was given", exc.fact, exc.advice) from None
        except (TypeError, ValueError) as exc:
            raise UnsupportedData("the rows", f"cannot be sent: {exc}", "give a table like the model's sample") from exc

    def predictions(self, method: str, rows: list[Any]) -> list[Any]:
        """JSON rows to JSON predictions."""
        from nbdeploy.runtime import answers

        found = self.post(f"/{method}", answers.dumps({"rows": rows})).get("predictions")
        if not isinstance(found, list) or len(found) != len(rows):
            raise Unreachable(self.url, "what answers there is no service of nbdeploy")
        return found

    def interface(self) -> Interface:
        if self._interface is None:
            try:
                self._interface = Interface.from_metadata(self.metadata())
            except (KeyError, TypeError, AttributeError) as exc:
                raise Unreachable(self.url, "its /metadata is not that of a service of nbdeploy") from exc
        return self._interface

    def metadata(self) -> dict[str, Any]:
        return self._json(self.send("GET", "/metadata"))

    def manifest(self) -> Manifest:
        """What the service says of the bundle it has loaded, which may be gone from the disk."""
        from nbdeploy.runtime.manifest import FORMAT, Manifest, ManifestError

        told = self.metadata()
        kept = {key: told.get(key) for key in ("name", "title", "model", "schema", "digest", "created")}
        unsaid: dict[str, Any] = {"artefact": "", "environment": {}, "code": {}, "files": {}}
        try:
            methods = [{key: item[key] for key in item if key != "route"} for item in told["methods"]]
            return Manifest.from_dict({**kept, **unsaid, "format": FORMAT, "methods": methods})
        except (KeyError, TypeError, AttributeError, ManifestError) as exc:
            raise Unreachable(self.url, "its /metadata is not that of a service of nbdeploy") from exc

    def readiness(self) -> dict[str, Any]:
        """What /readyz says, whether the service is ready or not."""
        return self._object(self.send("GET", "/readyz"))

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        return self._json(self.send("POST", path, body))

    def send(self, verb: str, path: str, body: bytes | None = None) -> Answer:
        """The answer as it came, whatever its status."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._transport.request(verb, path, body, headers)

    def close(self) -> None:
        self._transport.close()

    def _json(self, answer: Answer) -> dict[str, Any]:
        found = self._object(answer)
        if answer.status == 200:
            return found
        error = found.get("error")
        if not isinstance(error, dict):
            raise Unreachable(self.url, f"HTTP {answer.status} from something that is no service of nbdeploy")
        raise CallRefused(
            answer.status,
            str(error.get("code")),
            str(error.get("message")),
            error.get("details") or [],
            found.get("request_id"),
        )

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            found = json.loads(answer.body)
        except ValueError as exc:
            raise Unreachable(self.url, f"HTTP {answer.status} and no JSON: no service of nbdeploy") from exc
        if not isinstance(found, dict):
            raise Unreachable(self.url, "what answers there is no service of nbdeploy")
        return found


def _transport(url: str, timeout: float) -> Transport:
    if url.startswith("memory://"):
        from nbdeploy.run.memory import Reach

        return Reach(url)
    return Http(url, timeout)
