"""The model under judgement, asked over HTTP like any caller asks it; a row it refuses is kept with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CallRefused, NotFound, WrongUse
from nbdeploy.run.client import Client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.runtime.manifest import Column, Method, Schema

BATCH = 500  # rows of one request
MOST_FAILURES = 50  # requests that fail as a whole before the rest is left unasked
_OF_ROWS = {413, 422, 500, 502, 504}  # refusals that fewer or other rows may not meet


@dataclass(frozen=True)
class Answers:
    """`values` in the order of the rows, None where there was no answer; `refused` says why, by place."""

    values: list[Any]
    refused: Mapping[int, str]

    @property
    def places(self) -> list[int]:
        """Of the rows that were answered."""
        return [place for place in range(len(self.values)) if place not in self.refused]


class Served:
    """A service and what its /metadata says. `token_file` is "" where the service is open."""

    def __init__(self, url: str, token_file: str = "") -> None:
        if not url:
            raise WrongUse("There is no service to judge: url is empty. Give its address, as `nbdeploy ps` shows it.")
        self.client = Client(url, token=_token(token_file))
        self.facts = self.client.metadata()
        interface = self.client.interface()
        self.schema: Schema = interface.schema
        self.methods: dict[str, Method] = interface.methods

    @property
    def title(self) -> str:
        """NAME:VERSION, or NAME@DIGEST12 of what has no number yet."""
        name, version, digest = (self.facts.get(key) for key in ("name", "version", "digest"))
        return f"{name}:{version}" if version else f"{name}@{str(digest).removeprefix('sha256:')[:12]}"

    @property
    def task(self) -> str:
        return str(self.facts["model"].get("task", "other"))

    @property
    def keyed(self) -> bool:
        """Whether a row is an object keyed by column."""
        return self.schema.keyed

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.schema.columns if self.keyed else ()

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """As the probabilities name them; None where the service has none."""
        found = self.methods.get("predict_proba")
        return found.output.labels if found else None

    def method(self, *names: str) -> str:
        """The first of these methods that is served."""
        for name in names:
            if name in self.methods:
                return name
        raise NotFound("method", names[0], sorted(self.methods))

    def answers(self, method: str, rows: Sequence[Any]) -> Answers:
        """Asked in requests of BATCH rows; where one is refused, its rows are told apart."""
        asking = _Asking(self.client, method, rows)
        limit = self.facts.get("limits", {}).get("max_rows") or BATCH
        step = max(1, min(BATCH, limit))
        for start in range(0, len(rows), step):
            asking.ask(list(range(start, min(start + step, len(rows)))))
        return Answers(asking.values, asking.refused)


class _Asking:
    def __init__(self, client: Client, method: str, rows: Sequence[Any]) -> None:
        self._client = client
        self._method = method
        self._rows = rows
        self._failures = 0
        self.values: list[Any] = [None] * len(rows)
        self.refused: dict[int, str] = {}

    def ask(self, places: list[int]) -> None:
        if self._failures >= MOST_FAILURES:
            self.refused |= dict.fromkeys(places, f"not asked after {MOST_FAILURES} refused requests")
            return
        try:
            found = self._client.predictions(self._method, [self._rows[place] for place in places])
        except CallRefused as exc:
            if exc.status not in _OF_ROWS:
                raise
            self._apart(places, exc)
            return
        for place, value in zip(places, found, strict=True):
            self.values[place] = value

    def _apart(self, places: list[int], refusal: CallRefused) -> None:
        """Leave out the rows the refusal names, or look for them in halves."""
        named = {places[detail["row"]]: _told(detail) for detail in refusal.details if _names_row(detail, len(places))}
        if named:
            self.refused |= named
            if rest := [place for place in places if place not in named]:
                self.ask(rest)
            return
        self._failures += 1
        if len(places) == 1:
            self.refused[places[0]] = f"HTTP {refusal.status}: {refusal.text}"
            return
        middle = len(places) // 2
        self.ask(places[:middle])
        self.ask(places[middle:])


def _names_row(detail: Mapping[str, Any], count: int) -> bool:
    row = detail.get("row")
    return isinstance(row, int) and 0 <= row < count


def _told(detail: Mapping[str, Any]) -> str:
    column = f"{detail['column']} " if detail.get("column") is not None else ""
    return f"{column}{detail.get('problem', 'was refused')}"


def _token(file: str) -> str | None:
    if not file:
        return None
    path = Path(file)
    if not path.is_file():
        raise NotFound("token file", file)
    return path.read_text(encoding="utf-8").strip()
