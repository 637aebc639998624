"""An image of the penguins pipeline beside `bentoml containerize`: `python -m benchmarks.images`, with podman.

Each build starts without an image of its own; the base image and the caches of downloads are there for both. BentoML's is
made of the same bundle, and of a Bento by hand as its documents show it (which is what installs compilers).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "images.json"
BASE = "docker.io/library/python:3.11-slim"
OURS, AGAIN, SAME, BY_HAND = (
    "nbdeploy image",
    "nbdeploy image, after retraining",
    "bentoml containerize, the same bundle",
    "bentoml containerize, by hand",
)
PUBLISH = """
import sys
from benchmarks.penguins import data, fitted
from nbdeploy.workspace import Workspace
rows, labels = data()
model = fitted().set_params(logisticregression__C=float(sys.argv[1])).fit(rows, labels)
space = Workspace()
print(space.publish(space.bundle(model, name="penguins", sample=rows, target=labels)).version)
"""
SAVE = 'import bentoml; from benchmarks.penguins import fitted; bentoml.sklearn.save_model("by-hand", fitted())'
BENTOFILE = 'service: "peer_bentoml_built:ByHand"\ninclude: ["peer_bentoml_built.py"]\npython: {packages: [scikit-learn, pandas]}\n'


def run(*words: str, folder: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}:\n{done.stderr[-3000:]}")
    return done.stdout.strip()


def timed(*words: str) -> float:
    began = time.monotonic()
    run(*words)
    return time.monotonic() - began


def size(tag: str) -> int:
    return int(run("podman", "image", "inspect", "--format", "{{.Size}}", tag))


@contextmanager
def base(mark: str, folder: Path) -> Iterator[str]:
    """The base image under a name nobody has built on."""
    tag = f"localhost/nbdeploy-bench/{mark}:3.11"
    (folder / "Containerfile").write_text(f"FROM {BASE}\nENV BENCH={mark}\n")
    run("podman", "build", "--pull=never", "--tag", tag, str(folder))
    try:
        yield tag
    finally:
        subprocess.run(["podman", "rmi", "--force", tag], capture_output=True, check=False)


def containerize(what: str, tag: str) -> dict[str, Any]:
    network = ["--opt", "network=host", "--opt", "no-cache"]
    seconds = timed("bentoml", "containerize", what, "--backend", "podman", *network, "--image-tag", tag)
    return {"seconds": seconds, "bytes": size(tag)}


def measured(folder: Path, mark: str) -> dict[str, Any]:
    with base(mark, folder) as own:
        run(sys.executable, "-c", PUBLISH, "1.0")
        ours = [f"localhost/nbdeploy-bench/{mark}:{number}" for number in range(4)]
        found: dict[str, Any] = {}
        try:
            found[OURS] = {"seconds": timed("nbdeploy", "image", "penguins", "--base", own, "--tag", ours[0])}
            run(sys.executable, "-c", PUBLISH, "0.5")
            found[AGAIN] = {"seconds": timed("nbdeploy", "image", "penguins:1.0.1", "--base", own, "--tag", ours[1])}
            found[OURS]["bytes"], found[AGAIN]["bytes"] = size(ours[0]), size(ours[1])
            found[SAME] = containerize("penguins:1.0.0", ours[2])
            run(sys.executable, "-c", SAVE)
            (ROOT / "benchmarks" / "bentofile.yaml").write_text(BENTOFILE)
            run("bentoml", "build", "--quiet", folder=ROOT / "benchmarks")
            found[BY_HAND] = containerize("by-hand:latest", ours[3])
        finally:
            (ROOT / "benchmarks" / "bentofile.yaml").unlink(missing_ok=True)
            images = folder / "nbdeploy" / "images"
            made = [*ours, *(f"localhost/nbdeploy-dependencies:{path.name}" for path in images.glob("dependencies/*"))]
            made += [f"localhost/nbdeploy-system:{path.name}" for path in images.glob("systems/*")]
            subprocess.run(["podman", "rmi", "--force", *made], capture_output=True, check=False)
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ |= {"NBDEPLOY_HOME": str(folder / "nbdeploy"), "BENTOML_HOME": str(folder / "bentoml")}
        os.environ |= {"PYTHONPATH": str(ROOT), "BENTOML_DO_NOT_TRACK": "True", "NBDEPLOY_ENGINE": "podman"}
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        found = measured(folder, secrets.token_hex(4))
    for name, figures in found.items():
        print(f"{name:<40} {figures['bytes'] / 1e6:7.0f} MB {figures['seconds']:7.1f} s")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
