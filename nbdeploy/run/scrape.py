"""What Prometheus and Grafana need to watch services, in a folder of the user's: a job for each, rules, a dashboard.

Files that are there are the user's and stay; a service that has no job in `prometheus.yml` yet gets one at its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound, NotRunning, Refused, Unsupported
from nbdeploy.homes import failing, refuse_file, write_whole
from nbdeploy.render import Card, Shown
from nbdeploy.run import tokens
from nbdeploy.runtime.state import State
from nbdeploy.templates import filled, template

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG = "prometheus.yml"
AS_THEY_ARE = ("prometheus_rules.yml", "grafana_dashboard.json")
JOBS = "scrape_configs:\n"


@dataclass(frozen=True)
class Scrape(Shown):
    """`jobs` are all that the folder's Prometheus scrapes; `written` the files this call wrote, the others were there."""

    folder: Path
    name: str
    jobs: Sequence[str]
    written: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        written = [str(self.folder / name) for name in self.written]
        return {"name": self.name, "folder": str(self.folder), "jobs": list(self.jobs), "written": written}

    def card(self) -> Card:
        kept = [name for name in (CONFIG, *AS_THEY_ARE) if name not in self.written]
        facts = [("jobs", ", ".join(self.jobs)), ("written", ", ".join(self.written) or None)]
        return Card(
            title=f"{self.name} is scraped from {self.folder}",
            tone="good",
            facts=(*facts, *((("left as they were", ", ".join(kept)),) if kept else ())),
            code=(
                ("check", f"promtool check config {self.folder / CONFIG}"),
                ("run", f"prometheus --config.file={self.folder / CONFIG} --web.listen-address=127.0.0.1:9090"),
            ),
            notes=(
                ("neutral", f"whoever runs Prometheus must be able to read the service's {tokens.FILE} file"),
                ("neutral", f"Grafana: Dashboards, New, Import, {self.folder / AS_THEY_ARE[1]}"),
            ),
        )


def scrape(name: str, service: Path, folder: Path) -> Scrape:
    """Write what is missing in `folder` to watch the service whose folder is `service`.

    Raises:
        NotFound: it never served. NotRunning: it has no address. Unsupported: it has no port.
        Refused: the folder's prometheus.yml cannot be added to. DiskFailed.
    """
    refuse_file(folder)
    config = folder / CONFIG
    before = config.read_text(encoding="utf-8") if config.exists() else None
    after = with_job(before, name, target_of(name, service), (service / tokens.FILE).absolute(), config)
    contents = {
        path: template(path).read_text(encoding="utf-8") for path in AS_THEY_ARE if not (folder / path).exists()
    }
    contents |= {CONFIG: after} if after != before else {}
    with failing(f"writing {folder}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in contents.items():
            write_whole(folder / path, text.encode())
    return Scrape(folder, name, jobs_of(after), [path for path in (CONFIG, *AS_THEY_ARE) if path in contents])


def target_of(name: str, service: Path) -> str:
    """HOST:PORT, which a service keeps over stops and redeploys."""
    if not service.is_dir():
        raise NotFound("service", name, sorted(path.name for path in service.parent.glob("[!.]*")))
    state = State.read(service)
    if state is None or state.url is None:
        raise NotRunning(name, "has no address yet", f"`nbdeploy serve {name}` gives it one")
    if not state.url.startswith("http://"):
        raise Unsupported(f"Scraping {state.url}", f"`nbdeploy serve {name} --launcher local` gives it a port")
    return state.url.removeprefix("http://").partition("/")[0]


def with_job(text: str | None, name: str, target: str, token: Path, config: Path) -> str:
    """`text` with a job for the service at its end, if it has none.

    Raises:
        Refused: it is YAML of which the end is not its list of jobs.
    """
    written = template(CONFIG).read_text(encoding="utf-8")
    head, job = written.split(JOBS)
    values = {"@JOB@": f"nbdeploy-{name}", "@NAME@": name, "@TARGET@": target, "@TOKEN@": str(token)}
    job = filled(job, {word: json.dumps(value, ensure_ascii=False) for word, value in values.items()})
    if text is None:
        return head + JOBS + job
    there = jobs_of(text)
    if f"nbdeploy-{name}" in there:
        return text
    longer = text.rstrip("\n") + "\n" + job
    if jobs_of(longer) != [*there, f"nbdeploy-{name}"]:
        raise Refused(
            f"{config} does not end in its list `{JOBS.strip()}`, so no job was added to it. Name another folder and copy the "
            "job from there."
        )
    return longer


def jobs_of(text: str) -> list[str]:
    """The names of its jobs, none where it is no configuration of Prometheus."""
    import yaml

    try:
        found = yaml.safe_load(text)["scrape_configs"]
        return [str(job["job_name"]) for job in found]
    except (yaml.YAMLError, KeyError, TypeError):
        return []
