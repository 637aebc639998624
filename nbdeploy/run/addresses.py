"""Where a loopback address of the kernel's machine is not the browser's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED = "NBDEPLOY_ALLOWED_HOSTS"


def how_to_reach(url: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A sentence for a hosted notebook; None where kernel and browser share a machine, as far as can be known."""
    port = urlsplit(url).port
    if prefix := environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return (
            f"This address is that of the machine the kernel runs on. With jupyter-server-proxy there, the hub has it at "
            f"{prefix.rstrip('/')}/proxy/{port}/; name the hub's host in {ALLOWED} before you deploy."
        )
    if name := environ.get("CODESPACE_NAME"):
        domain = environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
        host = f"{name}-{port}.{domain}"
        return f"From outside this codespace: https://{host}/, with {host} in {ALLOWED} before you deploy."
    if "COLAB_RELEASE_TAG" in environ or "COLAB_GPU" in environ:
        return f"This address is that of Colab's machine; google.colab.output.serve_kernel_port_as_window({port}) opens it."
    if "SSH_CONNECTION" in environ:
        return f"This address is that of the machine the kernel runs on; `ssh -L {port}:127.0.0.1:{port} HOST` forwards it."
    return None
