"""`Reach`: which addresses a webhook may go to, and the one address that was checked.

The public internet; and of private, link-local, loopback and other special addresses those that `allow` of the settings
names. A host is asked for once: what was checked is what is connected to, whatever its name answers a moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    IP = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Resolve = Callable[[str, int], Sequence[str]]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Special as well (IANA's registries), which not every Python knows.
SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10"),
    )
)


class NotAllowed(Exception):
    """The fact, without the address's path."""


def resolved(host: str, port: int) -> list[str]:
    """Every address of a host, in the system's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@dataclass(frozen=True, slots=True)
class Reach:
    allow: tuple[Network, ...] = ()
    resolve: Resolve = resolved

    @classmethod
    def of(cls, allow: Iterable[str], where: str) -> Reach:
        return cls(tuple(_network(str(item), where) for item in allow))

    def address(self, host: str, port: int) -> str:
        """The address to connect to. Raises NotAllowed where any address of the host is not to be reached, OSError."""
        try:
            found = self.resolve(host, port)
        except UnicodeError as exc:
            raise NotAllowed(f"{host} is no name of a host") from exc
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not self.allows(address):
                raise NotAllowed(
                    f"{host} is at {address}, which is not of the public internet: "
                    f'if that is meant, write allow = ["{address}"] under [alerts] of the settings'
                )
        if not found:
            raise NotAllowed(f"{host} has no address")
        return found[0]

    def allows(self, address: IP) -> bool:
        return any(address in network for network in self.allow if network.version == address.version) or all(
            _public(item) or any(item in network for network in self.allow if network.version == item.version)
            for item in _meant(address)
        )


def _public(address: IP) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not (special or any(address in network for network in SPECIAL))


def _meant(address: IP) -> Iterator[IP]:
    """The address, or those of version 4 that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    else:
        yield address
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))


def _network(text: str, where: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise WrongUse(
            f'"{text}" in allow in {where} is no address: write "10.0.0.5" or "192.168.0.0/16". Names are not taken, they can change.'
        ) from None
