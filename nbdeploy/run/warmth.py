"""What a worker can import before its bundle exists: what every bundle needs, and what this model is made of."""

from __future__ import annotations

from typing import Any

RUNTIME = (
    "uvloop",
    "uvicorn",
    "uvicorn.protocols.http.httptools_impl",
    "httptools",
    "pydantic",
    "pydantic_core",
    "numpy",
    "prometheus_client",
)


def modules_for(model: Any, sample: Any) -> list[str]:
    """Modules of the model, of what it is made of, and of the sample, in the order to import them.

    Nothing of the notebook itself: only what a distribution gives, which is what the bundle's lock will hold.
    """
    found = {_module(part) for part in (*_parts(model), sample)}
    return [*RUNTIME, *sorted(name for name in found if name.partition(".")[0] not in {"__main__", "builtins"})]


def _parts(model: Any) -> list[Any]:
    """The model and its parameters, however deep: scikit-learn's way of saying what an estimator is made of."""
    try:
        return [model, *model.get_params(deep=True).values()]
    except Exception:  # noqa: BLE001 - any object may be deployed, and its get_params may do anything
        return [model]


def _module(part: Any) -> str:
    return type(part).__module__
