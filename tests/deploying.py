"""A process that deploys: `python deploying.py NAME FACTOR [OPTION=VALUE...]`. It says each phase as it begins, then the version."""

from __future__ import annotations

import sys
from typing import Any

from rules import SAMPLE, Scaled

from nbdeploy.workspace import Workspace


def main(name: str, factor: str, *options: str) -> None:
    given: dict[str, Any] = {key: int(value) for key, _, value in (item.partition("=") for item in options)}

    def told(phase: str) -> None:
        print(phase, flush=True)

    service = Workspace().deploy(Scaled(float(factor)), name=name, sample=SAMPLE, progress=told, **given)
    print(f"version {service.version}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
