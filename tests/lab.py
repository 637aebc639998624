"""A JupyterLab of its own with one notebook, and a browser that looks at it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
PATIENCE = 60.0  # seconds for a server to listen
NEWS = "lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"  # none are fetched


@contextmanager
def lab(folder: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a notebook with these cells, in a server that ends with the `with`."""
    work, config = folder / "work", folder / "jupyter"
    work.mkdir(parents=True)
    nodes = [nbformat.v4.new_code_cell(cell) for cell in cells]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata=spec), work / "panel.ipynb")
    (config / NEWS).parent.mkdir(parents=True)
    (config / NEWS).write_text('{"fetchNews": "false", "checkForUpdates": false}')
    homes: dict[str, Path | str] = {
        "JUPYTER_CONFIG_DIR": config,
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "IPYTHONDIR": folder / "ipython",
    }
    words = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.port=0",
    ]
    token = secrets.token_hex(16)
    homes["JUPYTER_TOKEN"] = token
    with (folder / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                *words,
                "--LabApp.expose_app_in_browser=True",
                f"--ServerApp.root_dir={work}",
            ],
            env={**os.environ, **{name: str(path) for name, path in homes.items()}},
            stdout=log,
            stderr=log,
        )
    try:
        yield f"{_address(server, folder)}doc/tree/panel.ipynb?token={token}"
    finally:
        server.terminate()  # it ends its kernels first
        server.wait(30)


def _address(server: subprocess.Popen[bytes], folder: Path) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        for path in (folder / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(path.read_text())["url"])
            except ValueError:  # it is being written
                continue
        time.sleep(0.05)
    raise AssertionError((folder / "lab.log").read_text()[-2000:])


@contextmanager
def browser(address: str) -> Iterator[Page]:
    """A page that shows the notebook, its kernel idle. Nothing but this machine is reached."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        page = chromium.new_page(viewport={"width": 1200, "height": 1400})
        page.route(
            "**/*",
            lambda route: (
                route.continue_()
                if "//localhost" in route.request.url or "//127." in route.request.url
                else route.abort()
            ),
        )
        page.goto(address)
        yield page
        chromium.close()


def theme(page: Page, name: str) -> None:
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {name}")
    page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {name}']", state="attached")


def ready(page: Page) -> None:
    """The notebook is there, and its kernel has answered over this page's own connection."""
    page.wait_for_function("() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")
    page.wait_for_function(_CONNECTED)


_CONNECTED = """async () => {
    const session = window.jupyterapp.shell.currentWidget.sessionContext;
    await session.ready;
    const kernel = session.session.kernel;
    return kernel.connectionStatus === "connected" && !!(await kernel.requestKernelInfo());
}"""


def run_first(page: Page, cells: int) -> None:
    """The first cells of the notebook; returns when they have run."""
    page.locator(".jp-Cell .cm-content").first.click()
    for _ in range(cells):
        page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        "count => [...document.querySelectorAll('.jp-InputPrompt')].filter(e => /\\d/.test(e.textContent)).length >= count",
        arg=cells,
    )
