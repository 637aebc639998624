"""The application under plain `bentoml serve`: identity from the Bento, token and log from the environment.

NBDEPLOY_TOKEN_FILE: the file holding the token; without it the service is open, as BentoML's own are.
NBDEPLOY_LOG_DIR: the folder for prediction log, counters and, in `feedback/`, labels; without it nothing is kept, and
/feedback is 404.
NBDEPLOY_ALLOWED_HOSTS: hosts beside loopback.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import given
from .app import App
from .exchange import Exchange
from .given import LOG_VARIABLE, TOKEN_VARIABLE, version_of
from .identity import Identity, short
from .replies import RETRY, error, request_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .exchange import Receive, Send

__all__ = ["LOG_VARIABLE", "TOKEN_VARIABLE", "Failed", "Standalone", "token_sha256", "version_of"]
logger = logging.getLogger("bentoml.nbdeploy")  # BentoML shows what is below its own name


class Standalone:
    """Started once, at the server's start, with what BentoML would answer by itself."""

    def __init__(self, src: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._src = src
        self._environ = environ
        self._lock = threading.Lock()
        self._app: App | Failed | None = None

    def start(self, fallthrough: Any) -> App | Failed:
        if self._app is not None:
            return self._app
        with self._lock:
            if self._app is None:
                self._app = self._build(fallthrough)
            return self._app

    def _build(self, fallthrough: Any) -> App | Failed:
        try:
            return self._ready(fallthrough)
        except Exception:  # BentoML would start a process that fails again and again; this one says why it fails
            logger.exception("this service cannot answer")
            return Failed()

    def _ready(self, fallthrough: Any) -> App:
        from .feedback import FeedbackLog
        from .model import ServedModel
        from .predlog import PredictionLog
        from .rules import Rules

        token = token_sha256(self._environ)
        model = ServedModel.load(self._src)
        findings = model.verify()
        if findings:
            raise RuntimeError("golden rows are not answered as they were in the kernel: " + "; ".join(findings))
        folder = self._environ.get(LOG_VARIABLE)
        digest = model.manifest.digest
        app = App(
            model,
            Identity(model.manifest.name, version_of(self._src) or short(digest), digest),
            token_sha256=token,
            log=PredictionLog(Path(folder), rules=Rules.of({}, model, self._src)) if folder else None,
            feedback=FeedbackLog(Path(folder) / "feedback") if folder else None,
            fallthrough=lambda: fallthrough,
        )
        app.ready = True
        gc.collect()
        gc.freeze()  # what was loaded stays; looking through it again and again would hold up requests
        return app


class Failed:
    """Alive, never ready."""

    def __init__(self) -> None:
        self._ids = request_ids()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, next(self._ids), 0.0)
        if scope["path"] == "/livez":
            await exchange.reply(200, b'{"state":"failed"}')
            return
        text = "The service could not load its model; its log says why."
        await exchange.reply(503, error("failed", text, [], exchange.request_id), RETRY)


def token_sha256(environ: Mapping[str, str]) -> str | None:
    if not environ.get(TOKEN_VARIABLE):
        logger.warning("this service is open to anyone who reaches it: %s names no token's file", TOKEN_VARIABLE)
    return given.token_sha256(environ)
