"""E-mail and all the services that apprise knows (the door to apprise, which the extra `alerts` brings)."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING

from nbdeploy.errors import DeliveryFailed, Unsupported
from nbdeploy.watch.masks import HIDDEN, masked, without

if TYPE_CHECKING:
    from types import ModuleType

    from nbdeploy.watch.message import Message

INSTALL = 'pip install "apprise>=1.9"'
WHOLE = 30.0  # seconds of a service, asked of those that can be told
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LEAST = 12  # characters of a log line that says something


def notify(channel: str, url: str, message: Message) -> None:
    """Return if apprise says that it was taken. Raises DeliveryFailed, Unsupported where apprise is not installed."""
    try:
        import apprise
    except ImportError:
        raise Unsupported(
            f"The channel {channel} ({masked(url)})", f"it needs apprise, which is not installed: {INSTALL}"
        ) from None
    logger = logging.getLogger("apprise")
    spreads, logger.propagate = logger.propagate, False  # its lines are ours to clean
    try:
        with (
            apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as lines,
            warnings.catch_warnings(action="ignore", category=DeprecationWarning),  # of its plug-ins, as they load
        ):
            taken = bool(_sent(apprise, url, message))
            said = lines.getvalue()
    finally:
        logger.propagate = spreads
    if not taken:
        raise DeliveryFailed(channel, f"{masked(url)} did not take it{_why(said, url)}")


def _sent(apprise: ModuleType, url: str, message: Message) -> object:
    sender = apprise.Apprise()
    if not sender.add(url):
        return False
    tone = "failure" if any(alert.state == "firing" for alert in message.alerts) else "info"
    return sender.notify(body=message.text, title=message.title, notify_type=tone, body_format="text")


def _why(said: str, url: str) -> str:
    """The last line that apprise logged, without a piece of the address."""
    told = _ADDRESS.sub(HIDDEN, without(said, url))  # its own masks leave the ends of a password
    lines = [line for line in told.splitlines() if len(line) >= _LEAST]
    return f": {lines[-1][:200]}" if lines else ""
