"""Channels: where alerts go. Only those that the user's own settings name, so that no notebook and no model sends anything.

    [alerts.channels]
    ops = "https://hooks.example.com/..."     JSON by POST, our own (webhook.py)
    mail = "mailto://..."                     any other scheme: apprise
    night = { env = "NIGHT_URL" }             or { file = "~/.night" }: the address lies elsewhere

`notebook` (shown by the next `%deploy`) and `log` (a file beside the ledger) are always there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from nbdeploy.errors import DeliveryFailed, NbdeployError, WrongUse
from nbdeploy.watch.masks import masked, without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.watch.message import Message
    from nbdeploy.watch.reach import Reach

NOTEBOOK, LOG = "notebook", "log"
OURS = (NOTEBOOK, LOG)
WEBHOOKS = ("http", "https")
INSTEAD = ("json", "jsons", "xml", "xmls", "form", "forms")  # apprise's own webhooks, which would go anywhere


class Channel(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def shown(self) -> str:
        """Where it goes, without a secret."""
        ...

    def send(self, message: Message) -> None:
        """Return once the other side has taken it. Raises DeliveryFailed, Unsupported."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a channel's URL stands: in the settings, in an environment variable, in a file."""

    channel: str
    url: str = ""
    env: str = ""
    file: str = ""

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"

    @property
    def shown(self) -> str:
        if self.env or self.file:
            where = f"${self.env}" if self.env else self.file
            try:
                return f"{masked(self.found())} ({where})"
            except DeliveryFailed:
                return where
        return masked(self.url)

    def found(self) -> str:
        if self.env:
            return self._given(os.environ.get(self.env, ""), f"the variable {self.env} is not set")
        if self.file:
            try:
                text = Path(self.file).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise DeliveryFailed(self.channel, f"the file {self.file} cannot be read") from None
            return self._given(text, f"the file {self.file} is empty")
        return self.url

    def _given(self, text: str, fact: str) -> str:
        if not text.strip():
            raise DeliveryFailed(self.channel, fact)
        return text.strip()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A channel of the settings; which kind it is, its address says when it is asked for."""

    name: str
    address: Address
    reach: Reach

    @property
    def shown(self) -> str:
        return self.address.shown

    def send(self, message: Message) -> None:
        url = self.address.found()
        try:
            self._send(url, message)
        except NbdeployError:
            raise
        except Exception as exc:  # noqa: BLE001  # anything a sender raises may repeat the address, and says so nowhere else
            fact = f"its sender stopped with {type(exc).__name__}: {without(str(exc), url)}"
            raise DeliveryFailed(self.name, fact) from None

    def _send(self, url: str, message: Message) -> None:
        if scheme(url) in WEBHOOKS:
            from nbdeploy.watch.webhook import post

            post(self.name, url, message, self.reach)
        else:
            from nbdeploy.watch.apprising import notify

            notify(self.name, url, message)


@dataclass(frozen=True, slots=True)
class LogFile:
    """A line for each alert; one that is there is not written again."""

    folder: Path
    name: str = LOG
    largest: int = 1_000_000  # bytes; one file before it is kept

    @property
    def path(self) -> Path:
        return self.folder / "alerts.log"

    @property
    def shown(self) -> str:
        return str(self.path)

    def send(self, message: Message) -> None:
        try:
            self._write(message)
        except OSError as exc:
            raise DeliveryFailed(self.name, f"{self.path} cannot be written: {exc.strerror or exc}") from exc

    def _write(self, message: Message) -> None:
        written = self.path.read_bytes() if self.path.exists() else b""
        if len(written) > self.largest:
            self.path.replace(self.path.with_suffix(".log.1"))
        lines = [f"{alert.ended.isoformat()} {alert.id} {alert.state} {alert.text}" for alert in message.alerts]
        if message.test:
            lines = [f"{message.queued.isoformat()} {message.id} test {message.text}"]
        new = [text for text in lines if f" {text.split()[1]} ".encode() not in written]
        content = "".join(f"{''.join(char if char.isprintable() else '?' for char in text)}\n" for text in new).encode()
        if written and not written.endswith(b"\n"):  # a kill tore the last line
            content = b"\n" + content
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def scheme(url: str) -> str:
    return urlsplit(url).scheme.lower() if "://" in url else ""


def address_of(name: str, given: object, where: str) -> Address:
    """Of what the settings say. Raises WrongUse, which never repeats the address."""
    if name in OURS:
        raise WrongUse(f"The channel {name} in {where} is one of nbdeploy's own: give yours another name.")
    if isinstance(given, str):
        _check(name, given, where)
        return Address(name, given)
    if isinstance(given, dict) and len(given) == 1 and set(given) <= {"env", "file"}:
        key, value = next(iter(given.items()))
        if isinstance(value, str) and value:
            return Address(name, **{key: value})
    raise WrongUse(
        f'The channel {name} in {where} is no address: write {name} = "https://...", {{ env = "VARIABLE" }} or {{ file = "PATH" }}.'
    )


def _check(name: str, url: str, where: str) -> None:
    found = scheme(url)
    if not found:
        raise WrongUse(f'The channel {name} in {where} is no URL: write "https://..." or "mailto://...".')
    if found in INSTEAD:
        raise WrongUse(f"The channel {name} in {where} begins with {found}://: write https://, which sends JSON.")


def channels_of(addresses: Mapping[str, Address], reach: Reach, folder: Path) -> dict[str, Channel]:
    """Of one service, whose alerts are in `folder`; all but `notebook`, which the next `%deploy` shows."""
    found: dict[str, Channel] = {name: Elsewhere(name, address, reach) for name, address in addresses.items()}
    found[LOG] = LogFile(folder)
    return found
