"""`Task`: what a version answers with, and how the answer of `predict_proba` is read as one of `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.runtime.manifest import Manifest

LABELLED = ("classification", "regression")  # tasks whose answers a label can be held against


@dataclass(frozen=True)
class Task:
    """`classes` are those of a classifier, in their order. Versions of one service may have others."""

    name: str
    classes: tuple[Any, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> Task:
        found = next((method.output.labels for method in manifest.methods if method.output.labels), ())
        return cls(str(manifest.model.get("task")), tuple(found))

    @property
    def labels(self) -> dict[str, Any]:
        """The classes by the texts that stand for them in answers."""
        return {str(label): label for label in self.classes}


def top(shares: Any, labels: Mapping[str, Any]) -> Any:
    """The class of the largest share; None where there are no shares."""
    if not isinstance(shares, dict) or not shares:
        return None
    text = max(shares, key=lambda label: shares[label] if isinstance(shares[label], int | float) else -1.0)
    return labels.get(text, text)
