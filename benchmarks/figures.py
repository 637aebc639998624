"""What we promise about time, measured: `python -m benchmarks.figures`.

Each figure is the median of several runs. What starts a process is measured from outside, in turn with what it is
compared with, so that what else the machine does falls on both; the rest is measured in one process of its own
(probes.py), with everything imported. Targets are for a machine with nothing else to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "build" / "bench"
RESULTS = Path(__file__).parent / "figures.json"
PROBES = ("load_ext", "parts", "deploy")
STARTS = 9
PATIENCE = 600.0  # seconds for one probe

IMPORT = "import nbdeploy over bare Python"
LOAD = "%load_ext nbdeploy"
DEPLOY = "%deploy to the first answer, warm"
BY_HAND = "BentoML by hand to the first answer, warm"
# Seconds; None is measured beside another figure and has no target of its own.
TARGETS: dict[str, float | None] = {
    IMPORT: 0.05,
    LOAD: 0.1,
    "bundle the penguins pipeline, warm": 0.5,
    DEPLOY: 4.0,
    BY_HAND: None,
    "start a supervisor": 0.2,
    "pin the environment, warm": 0.06,
    "check 60 pins": 0.03,
    "fingerprint 1,000,000 rows of 30 columns": 1.0,
    "profile 1,000,000 rows of 10 columns": 3.0,
    "list 100,000 versions": 4.0,
    "keep one record in the prediction log": 30e-6,
    "count one request": 20e-6,
    "build one row of 7 columns": 1e-3,
    "refuse 1,000 wrong tokens": 1.0,
}
PART = 0.8  # of BentoML by hand in the same run, whatever else the machine does
UNITS = ((1.0, "s", 1.0), (1e-3, "ms", 1e3), (0.0, "us", 1e6))


@dataclass(frozen=True)
class Figure:
    name: str
    target: float | None  # seconds, as all here
    runs: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def missed(self) -> bool:
        return self.target is not None and self.median >= self.target

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median}


def main() -> int:
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="figures-", dir=BENCH) as scratch:
        variables = environment(Path(scratch))
        found = {IMPORT: imports(variables)}
        for probe in PROBES:
            for name, runs in probed(probe, variables):
                found.setdefault(name, []).extend(runs)
            print(f"measured: {probe}", file=sys.stderr)
    figures = [Figure(name, target, found[name]) for name, target in TARGETS.items()]
    part = statistics.median(ours / theirs for ours, theirs in zip(found[DEPLOY], found[BY_HAND], strict=True))
    print(table(figures))
    print(f"{DEPLOY}: {part:.2f} of BentoML by hand, wanted less than {PART}")
    written = {"figures": [figure.to_dict() for figure in figures], "deploy over BentoML by hand": part}
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")
    missed = [
        f"MISSED: {figure.name}: {text(figure.median)}, wanted less than {text(figure.target or 0)}"
        for figure in figures
        if figure.missed
    ]
    if part >= PART:
        missed.append(f"MISSED: {DEPLOY}: {part:.2f} of BentoML by hand, wanted less than {PART}")
    print(*missed or ["every target is met"], sep="\n")
    return 1 if missed else 0


def environment(folder: Path) -> dict[str, str]:
    """Homes of its own, and bytecode cached as a user has it."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    homes = {
        "NBDEPLOY_HOME": "nbdeploy",
        "BENTOML_HOME": "bentoml",
        "IPYTHONDIR": "ipython",
        "MPLCONFIGDIR": "mpl",
        "TMPDIR": "tmp",
    }
    (folder / "tmp").mkdir()
    return {**own, **{name: str(folder / home) for name, home in homes.items()}, "BENTOML_DO_NOT_TRACK": "True"}


def imports(variables: Mapping[str, str]) -> list[float]:
    """Pairs of processes, one after the other; the first pair only fills the caches."""
    found = []
    for _ in range(STARTS + 1):
        bare = started("pass", variables)
        found.append(started("import nbdeploy", variables) - bare)
    return found[1:]


def started(code: str, variables: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=variables, cwd=ROOT, check=True)
    return time.perf_counter() - begun


def probed(probe: str, variables: Mapping[str, str]) -> Iterator[tuple[str, list[float]]]:
    """A probe prints one JSON object a line: {figure: [seconds of each run]}."""
    times = STARTS + 1 if probe == "load_ext" else 1
    for number in range(times):
        for name, runs in output(probe, variables).items():
            if number or times == 1:
                yield name, runs


def output(probe: str, variables: Mapping[str, str]) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.probes", probe]
    done = subprocess.run(
        command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"the probe {probe} failed: {done.stderr[-2000:]}")
    found: dict[str, list[float]] = {}
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError):  # what libraries print
            found.update(json.loads(line))
    return found


def table(figures: list[Figure]) -> str:
    lines = ["| what | target | median | runs |", "|---|---|---|---|"]
    for figure in figures:
        target = "" if figure.target is None else f"< {text(figure.target)}"
        spread = f"{len(figure.runs)}, {text(min(figure.runs))} to {text(max(figure.runs))}"
        lines.append(f"| {figure.name} | {target} | {text(figure.median)} | {spread} |")
    return "\n".join(lines)


def text(seconds: float) -> str:
    unit, factor = next((unit, factor) for least, unit, factor in UNITS if seconds >= least or not least)
    value = seconds * factor
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


if __name__ == "__main__":
    sys.exit(main())
