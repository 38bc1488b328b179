"""Which internet addresses a page may be fetched from: those of the public internet, and no others."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Host and port to the addresses that its name has.
Resolve = Callable[[str, int], Awaitable[list[str]]]
Allowed = Callable[[str], bool]

# Gateways that translate to IPv4 (RFC 6052, RFC 8215): what counts is the address within.
_TRANSLATED = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48"))


class AddressRefused(Exception):
    """The host is not on the public internet, or has no address."""


async def resolved(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives for `host`. Raises `AddressRefused` where it has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise AddressRefused("its name has no address") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: str) -> bool:
    """Whether `address` is one of the public internet, also where it carries another one within."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in _all_of(parsed))


def _all_of(address: Address) -> Iterator[Address]:
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        for within in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if within is not None:
                yield within
        if any(address in net for net in _TRANSLATED):
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


async def checked_address(host: str, port: int, resolve: Resolve = resolved, allowed: Allowed = is_public) -> str:
    """The address to connect to for `host`, to be used as it is: asked again, its name might say another one.

    Raises:
        AddressRefused: one of its addresses is private, loopback, link-local or otherwise not public.
    """
    addresses = await resolve(host, port)
    if not addresses:
        raise AddressRefused("its name has no address")
    if not all(map(allowed, addresses)):
        raise AddressRefused("it is not on the public internet")
    return addresses[0]
