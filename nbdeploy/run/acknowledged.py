"""Labels of one request, sent to the service that answered it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CallRefused, Unsupported, WrongUse
from nbdeploy.render import Card, Shown

if TYPE_CHECKING:
    from nbdeploy.run.service import Service

NO_ROUTE = "not_found"


@dataclass(frozen=True)
class Acknowledged(Shown):
    """`accepted` labels are written, `empty` of the request's rows have none yet."""

    request_id: str
    accepted: int
    empty: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def card(self) -> Card:
        facts = (("labels kept", self.accepted), *((("not known yet", self.empty),) if self.empty else ()))
        return Card(f"labels of request {self.request_id}", "good", facts=facts)


def acknowledge(service: Service, request_id: str, labels: Any) -> Acknowledged:
    """Raises Unsupported where the version was bundled before services took labels."""
    from nbdeploy.runtime.answers import dumps

    body = dumps({"request_id": request_id, "labels": _plain(labels)})
    try:
        told = service.client.post("/feedback", body)
    except CallRefused as refused:
        if refused.status != 404 or refused.code != NO_ROUTE:
            raise
        what = f"Sending labels to {service.name} {service.version}, bundled before services took any,"
        step = f'nbdeploy.feedback("{service.name}", labels) keeps them without it; or deploy it again with --again'
        raise Unsupported(what, step) from refused
    return Acknowledged(request_id, told["accepted"], told["empty"])


def _plain(labels: Any) -> list[Any]:
    """A list, array or Series as JSON values; what is missing is null."""
    import pandas as pd

    from nbdeploy.runtime.columns import values_of

    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise WrongUse('Labels of a request are a list, one for each of its rows: feedback("5f0c...", ["yes", None])')
    try:
        values = values_of(pd.Series(labels if hasattr(labels, "dtype") else list(labels)).infer_objects())
    except (TypeError, ValueError) as exc:
        raise WrongUse(f"These labels cannot be sent: {exc}; give numbers, texts or booleans.") from exc
    return list(values)
