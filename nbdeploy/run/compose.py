"""A version as a Compose file: the service, and Prometheus, Alertmanager and Grafana that watch it, all on loopback."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.bento import dump
from nbdeploy.keep.handout import KEPT, hand_out
from nbdeploy.run import elsewhere, scrape
from nbdeploy.runtime.listener import PORT
from nbdeploy.templates import template

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings

    Document = dict[str, Any]

FILE = "compose.yaml"
SECRETS = KEPT
PROMETHEUS = "docker.io/prom/prometheus:v3.5.0"
ALERTMANAGER = "docker.io/prom/alertmanager:v0.28.1"
GRAFANA = "docker.io/grafana/grafana:12.1.0"
PORTS = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3001}  # of this machine, on loopback
TOKEN = {"source": "token", "target": f"{elsewhere.TOKEN_FOLDER}/token"}
HARDENED: Document = {
    "restart": "unless-stopped",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 256,
    "networks": ["inside"],
}


def write(
    version: Version, folder: Path, image: str | None, settings: Settings, progress: Callable[[str], None]
) -> Path:
    """The Compose file and all that it mounts but the secrets.

    Raises:
        What `elsewhere.image_and_memory` and `hand_out` do.
    """
    line = f"export {version.tag} --compose {folder}"
    reference, memory = elsewhere.image_and_memory(version, image, settings, line, progress)

    def fill(draft: Path) -> None:
        documents = {
            FILE: compose(version, reference, memory, settings),
            scrape.CONFIG: prometheus(version),
            "alertmanager.yml": ALERTS,
            "grafana/datasource.yml": DATASOURCE,
            "grafana/dashboards.yml": DASHBOARDS,
        }
        (draft / "grafana").mkdir()
        for name, document in documents.items():
            (draft / name).write_text(dump(document), encoding="utf-8")
        rules, dashboard = scrape.AS_THEY_ARE
        shutil.copyfile(template(rules), draft / rules)
        shutil.copyfile(template(dashboard), draft / "grafana" / dashboard)
        ports = {name.upper(): str(port) for name, port in PORTS.items()}
        text = elsewhere.readme("compose", version, named(version), reference, **ports)
        (draft / elsewhere.README).write_text(text, encoding="utf-8")

    return hand_out(folder, f"exporting {version.tag}", fill, kept=SECRETS)


def named(version: Version) -> str:
    """The service in the file, and its name for the others."""
    name = elsewhere.dns_name(version.name)
    return f"model-{name}"[:63].rstrip("-") if name in PORTS else name


def compose(version: Version, image: str, memory: int, settings: Settings) -> Document:
    name = named(version)
    return {
        "name": f"nbdeploy-{name}",
        "services": {
            name: _model(version, image, memory, settings),
            "prometheus": _prometheus(name),
            "alertmanager": _alertmanager(),
            "grafana": _grafana(),
        },
        "networks": {"inside": {}},
        "volumes": {"predictions": {}, "prometheus": {}, "alertmanager": {}, "grafana": {}},
        "secrets": {kind: {"file": f"./{SECRETS}/{kind}"} for kind in ("token", "grafana_password")},
    }


def _model(version: Version, image: str, memory: int, settings: Settings) -> Document:
    return {
        "image": image,
        **HARDENED,
        "labels": {"io.nbdeploy.version": version.version, "io.nbdeploy.digest": version.digest},
        "mem_limit": f"{memory}m",
        "tmpfs": ["/tmp:size=64m"],  # noqa: S108 - inside the container
        # Prometheus asks for it by its name here.
        "environment": elsewhere.variables(settings, hosts=named(version)),
        "secrets": [TOKEN],
        "volumes": [f"predictions:{elsewhere.LOG_FOLDER}"],
        "ports": [_loopback(PORT, PORT)],
        "stop_grace_period": f"{elsewhere.grace(settings)}s",
        "healthcheck": {**_healthy(*elsewhere.HEALTH), "start_period": f"{math.ceil(settings.ready_timeout)}s"},
    }


def _prometheus(name: str) -> Document:
    return {
        "image": PROMETHEUS,
        **HARDENED,
        "command": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        "secrets": [TOKEN],
        "volumes": [
            f"./{scrape.CONFIG}:/etc/prometheus/prometheus.yml:ro",
            f"./{scrape.AS_THEY_ARE[0]}:/etc/prometheus/{scrape.AS_THEY_ARE[0]}:ro",
            "prometheus:/prometheus",
        ],
        "ports": [_loopback(PORTS["prometheus"], 9090)],
        "depends_on": {name: {"condition": "service_healthy"}},
        "healthcheck": _healthy("wget", "-q", "--spider", "http://127.0.0.1:9090/-/healthy"),
    }


def _alertmanager() -> Document:
    return {
        "image": ALERTMANAGER,
        **HARDENED,
        # Alone, so that it listens to no other one.
        "command": [
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",
        ],
        "volumes": ["./alertmanager.yml:/etc/alertmanager/alertmanager.yml:ro", "alertmanager:/alertmanager"],
        "ports": [_loopback(PORTS["alertmanager"], 9093)],
        "healthcheck": _healthy("wget", "-q", "--spider", "http://127.0.0.1:9093/-/healthy"),
    }


def _grafana() -> Document:
    return {
        "image": GRAFANA,
        **HARDENED,
        "tmpfs": ["/tmp:size=64m"],  # noqa: S108 - inside the container
        "environment": {
            "GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana_password",
            "GF_USERS_ALLOW_SIGN_UP": "false",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        },
        "secrets": ["grafana_password"],
        "volumes": [
            "./grafana/datasource.yml:/etc/grafana/provisioning/datasources/nbdeploy.yml:ro",
            "./grafana/dashboards.yml:/etc/grafana/provisioning/dashboards/nbdeploy.yml:ro",
            f"./grafana/{scrape.AS_THEY_ARE[1]}:{DASHBOARD_FOLDER}/{scrape.AS_THEY_ARE[1]}:ro",
            "grafana:/var/lib/grafana",
        ],
        "ports": [_loopback(PORTS["grafana"], 3000)],
        "depends_on": {"prometheus": {"condition": "service_healthy"}},
        "healthcheck": _healthy("wget", "-q", "--spider", "http://127.0.0.1:3000/api/health"),
    }


def _loopback(here: int, inside: int) -> str:
    return f"127.0.0.1:{here}:{inside}"


def _healthy(*command: str) -> Document:
    return {"test": ["CMD", *command], "interval": "10s", "timeout": "5s", "retries": 3}


def prometheus(version: Version) -> Document:
    """The configuration of a service on this machine, with the names of here."""
    import yaml

    name = named(version)
    text = scrape.with_job(None, version.name, f"{name}:{PORT}", Path(TOKEN["target"]), Path(scrape.CONFIG))
    found: Document = yaml.safe_load(text)
    return {**found, "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]}}


DASHBOARD_FOLDER = "/etc/grafana/dashboards"
# Alerts are grouped and shown; a receiver with a channel of the user's is theirs to add.
ALERTS: Document = {
    "route": {"receiver": "shown", "group_by": ["alertname", "service"], "group_wait": "30s", "repeat_interval": "4h"},
    "receivers": [{"name": "shown"}],
}
DATASOURCE: Document = {
    "apiVersion": 1,
    "datasources": [
        {
            "name": "Prometheus",
            "type": "prometheus",
            "uid": "nbdeploy-prometheus",
            "url": "http://prometheus:9090",
            "access": "proxy",
            "isDefault": True,
            "editable": False,
        }
    ],
}
DASHBOARDS: Document = {
    "apiVersion": 1,
    "providers": [{"name": "nbdeploy", "type": "file", "options": {"path": DASHBOARD_FOLDER}}],
}
