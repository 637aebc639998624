"""Workers that were started before there was an order for them; each belongs to the caller that asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .worker import Command, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .caller import Caller
    from .control import Message
    from .logfile import LogFile
    from .order import Order
    from .reactor import Reactor
    from .worker import Report


@dataclass
class Spares:
    """`emptied` is called when the last process of them is gone; also one that became a worker is no longer here."""

    reactor: Reactor
    log: LogFile
    emptied: Callable[[], object]

    def __post_init__(self) -> None:
        self._of: dict[Caller, Worker] = {}
        self._all: set[Worker] = set()

    def __bool__(self) -> bool:
        return bool(self._all)

    def start(self, caller: Caller, message: Message) -> None:
        self.drop(caller)
        command = Command(str(message["python"]), dict(message["environment"]))
        worker = Worker(self.reactor, self.log, command, self)
        worker.warm(message["modules"], message["allowed"])
        self._of[caller] = worker
        self._all.add(worker)

    def take(self, caller: Caller, order: Order) -> Worker | None:
        """The caller's spare, if it is what the order wants; it is the taker's from now on."""
        worker = self._of.get(caller)
        if worker is None or not worker.fits(order.python, order.environment):
            self.drop(caller)
            return None
        del self._of[caller]
        self._all.discard(worker)
        return worker

    def drop(self, caller: Caller) -> None:
        worker = self._of.pop(caller, None)
        if worker is not None:
            worker.kill("was not needed any more")

    def drop_all(self) -> None:
        for caller in list(self._of):
            self.drop(caller)

    def look(self) -> None:
        for worker in list(self._all):
            worker.look()

    def worker_gone(self, worker: Worker, _report: Report) -> None:
        self._all.discard(worker)
        self._of = {caller: other for caller, other in self._of.items() if other is not worker}
        if not self._all:
            self.emptied()

    def worker_ready(self, worker: Worker) -> None: ...
    def worker_accepting(self, _worker: Worker) -> None: ...
    def worker_draining(self, _worker: Worker) -> None: ...
    def worker_unfit(self, worker: Worker) -> None: ...
    def worker_phase(self, worker: Worker, text: str) -> None: ...
