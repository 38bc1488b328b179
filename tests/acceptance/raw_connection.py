"""Connections to a server without an HTTP client: for what no client would do."""

from __future__ import annotations

import socket

from tests.acceptance.server_process import ServerProcess

MIB = 1024 * 1024


def connected(server: ServerProcess, *, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    try:
        while chunk := connection.recv(MIB):
            received += chunk
    except ConnectionError:
        pass
    return received
