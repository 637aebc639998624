"""A process that deploys: `python deploying.py NAME C [OPTION=VALUE...]`. It says each phase as it begins, then the version."""

from __future__ import annotations

import sys
from typing import Any

from models import classifier

from nbdeploy.workspace import Workspace


def main(name: str, strength: str, *options: str) -> None:
    fitted = classifier(float(strength))
    given: dict[str, Any] = {key: int(value) for key, _, value in (item.partition("=") for item in options)}
    print("fitted", flush=True)

    def told(phase: str) -> None:
        print(phase, flush=True)

    service = Workspace().deploy(fitted.model, name=name, sample=fitted.X, target=fitted.y, progress=told, **given)
    print(f"version {service.version}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
