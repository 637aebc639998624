"""One connection to a supervisor's control socket; a candidate belongs to the one that asked for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .control import Lines, Message, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .reactor import Reactor


class Caller:
    """`asked` is called with each message, `hung_up` once, when nobody is there any more."""

    def __init__(
        self,
        sock: socket.socket,
        reactor: Reactor,
        asked: Callable[[Caller, Message], object],
        hung_up: Callable[[Caller], object],
    ) -> None:
        self._socket = sock
        self._reactor = reactor
        self._asked = asked
        self._hung_up = hung_up
        self._lines = Lines()
        self.open = True
        sock.setblocking(False)
        reactor.watch(sock.fileno(), self._hear)

    def tell(self, message: Message) -> None:
        """One that does not read what it is told has hung up."""
        if not self.open:
            return
        data = encode(message)
        try:
            whole = self._socket.send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            self._reactor.later(0, self.close)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._reactor.unwatch(self._socket.fileno())
            with contextlib.suppress(OSError):
                self._socket.close()
            self._hung_up(self)

    def _hear(self) -> None:
        messages, gone = self._lines.receive(self._socket)
        for message in messages:
            self._asked(self, message)
        if gone:
            self.close()
