"""How many clients are likely to ask again in a moment.

Clients on kept connections that wait for their answer before they ask again fall into step with the calls of the model:
half of them ask while the other half is answered, and each call serves only half. A call that waits a moment for those
who asked in the last two calls serves all of them. Someone alone, or on a new connection each time, is not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

MEMORY = 2  # calls


class Crowd:
    def __init__(self) -> None:
        self._call = 0
        self._asked: dict[Hashable, int] = {}  # by client: the call before which it asked last
        self._regular: dict[Hashable, int] = {}  # the same, of those who asked more than once

    def asks(self, client: Hashable) -> None:
        if client in self._asked:
            self._regular[client] = self._call
        self._asked[client] = self._call

    def called(self) -> None:
        """A call of the model has begun; who has not asked for some calls is forgotten."""
        self._call += 1
        oldest = self._call - MEMORY
        self._asked = {client: call for client, call in self._asked.items() if call >= oldest}
        self._regular = {client: call for client, call in self._regular.items() if call >= oldest}

    @property
    def expected(self) -> int:
        return len(self._regular)
