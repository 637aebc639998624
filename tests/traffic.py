"""A service's past: rows as its workers would have logged them, at times of the test's choosing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.answers import dumps
from nbdeploy.runtime.identity import schema_id
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import SUFFIX, head, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nbdeploy.keep.version import Version


class Past:
    """Writes a closed segment into a service's folder. Answers are the model's own, asked here; `columns` are what the
    log does not keep as it comes, by name.
    """

    def __init__(self, services: Path, version: Version, model: Any, columns: Mapping[str, str] | None = None) -> None:
        self.folder = services / version.name / "predictions"
        self.version = version
        self.schema = schema_id(version.manifest().schema)
        self.model = model
        self.policy = Policy(columns or {})
        self.ids = 0

    def ask(
        self,
        rows: Any,
        began: datetime,
        ended: datetime,
        *,
        methods: Sequence[str] = ("predict",),
        batch: int = 5,
        milliseconds: float = 4.0,
    ) -> list[str]:
        """Requests of `batch` rows each, evenly over the time; their ids."""
        requests = -(-len(rows) // batch)
        step = (ended - began) / max(requests, 1)
        lines, ids = [], []
        asked = json.loads(rows.to_json(orient="records")) if hasattr(rows, "to_json") else rows.iloc[:].tolist()
        if kept := self.policy.rows(self.version.manifest().schema):
            asked = [kept(row) for row in asked]
        answers = {method: self._answers(rows, method) for method in methods}  # in one call, not one a request
        for number in range(requests):
            part = slice(number * batch, (number + 1) * batch)
            for method in methods:
                self.ids += 1
                ids.append(f"r{self.ids}")
                took = milliseconds * (1 + self.ids % 7 / 7)
                head = self._head(ids[-1], method, began + number * step, took, 200)
                lines.append(dumps(head | {"rows": asked[part], "predictions": answers[method][part]}))
        self.write(lines, began)
        return ids

    def refuse(
        self, count: int, began: datetime, *, status: int = 422, code: str = "invalid_rows", columns: Sequence[str] = ()
    ) -> None:
        lines = []
        for number in range(count):
            self.ids += 1
            head = self._head(f"r{self.ids}", "predict", began + timedelta(seconds=number), 1.0, status)
            lines.append(head | {"code": code} | ({"refused": list(columns)} if columns else {}))
        self.write([dumps(record) for record in lines], began)

    def write(self, records: Iterable[bytes], began: datetime) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = sorted(self.folder.glob(f"*-1{SUFFIX}"))
        path = found[0] if found else self.folder / f"{round(began.timestamp() * 1e6):016d}-1{SUFFIX}"
        if not found and self.policy.columns:
            schema = self.version.manifest().schema
            path.write_bytes(head(self.schema, self.policy, self.policy.kinds(schema), schema.keys))
        with path.open("ab") as file:
            file.writelines(line(record) for record in records)
        return path

    def _answers(self, rows: Any, method: str) -> list[Any]:
        answers: list[Any] = getattr(self.model, method)(rows.iloc[:]).tolist()
        if method != "predict_proba":
            return answers
        texts = [str(label) for label in self.model.classes_]
        return [dict(zip(texts, row, strict=True)) for row in answers]

    def _head(self, identity: str, method: str, time: datetime, milliseconds: float, status: int) -> dict[str, Any]:
        return {
            "time": time.timestamp(),
            "request_id": identity,
            "milliseconds": milliseconds,
            "version": self.version.version,
            "schema": self.schema,
            "method": method,
            "status": status,
        }


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)
