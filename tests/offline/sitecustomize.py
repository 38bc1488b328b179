"""Put on PYTHONPATH, it keeps a process and its children on this machine.

Whoever asks for a name or an address beyond loopback is refused, and written down in the file that OFFLINE_LOG names.
"""

from __future__ import annotations

import ipaddress
import os
import sys

_LOG = os.environ.get("OFFLINE_LOG", "")


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return isinstance(host, str) and ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):  # a socket of the file system
            return
        host = address[0]
    else:
        return
    # Any local address may be asked for that a server is to listen on.
    if _is_local(host) or (event == "socket.getaddrinfo" and host == "0.0.0.0"):
        return
    with open(_LOG, "a", encoding="utf-8") as log:
        log.write(f"{event} {host!r}\n")
    raise ConnectionRefusedError(f"{host!r} is beyond this machine")


if _LOG:
    sys.addaudithook(_watch)
