"""HTTP/1.1 connections that wait for no client for ever: uvicorn's, with the limits that it leaves to a proxy.

Cut is who does not send the head of a request, goes on sending a body that nobody wants, or takes nothing of an answer.
A body that stops is the business of who reads it (`server.bodies`).
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

import h11
import orjson
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from prometheus_client import Counter

_log = structlog.get_logger(__name__)

# What the kernel holds of an answer for a client that does not take it; left to itself, that is megabytes.
SEND_BUFFER_BYTES: Final = 256 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
# What is read of a body behind its answer, so that the client comes to read that: closing at once could take it away.
LINGER_BYTES: Final = 2 * 1024 * 1024
LINGER_SEC: Final = 2.0
MOST_LINGERING: Final = 64


class Connection(H11Protocol):
    """One connection. `patience_sec` is how long it waits for a client in the middle of something."""

    patience_sec: float = 60.0
    most: int
    refused: Counter
    lingering: set[Connection]
    _waiting: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _unwanted: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request; beyond `most` connections answers 503 and takes none."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse()
            return
        # A client that takes all but the last few bytes is one to be watched as well.
        transport.set_write_buffer_limits(high=0)
        own: socket.socket | None = transport.get_extra_info("socket")
        if own is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._wait(self.patience_sec)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._wait(None)
        self._watch(None)
        self.lingering.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what the client sends, unless it is more of a body that is answered already."""
        if self in self.lingering:
            return
        if self._unwanted is not None:
            self._unwanted += len(data)
            if self._unwanted > LINGER_BYTES:
                self.transport.close()
                return
        super().data_received(data)
        if self._unwanted is None:
            self._wait(self.patience_sec if self._in_a_head else None)
        elif self.conn.their_state is not h11.SEND_BODY:
            # All of it has come after all: as behind any other answer.
            self._unwanted = None
            self._wait(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """Ends the connection where the client goes on sending a body."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._unwanted = 0
            self._wait(LINGER_SEC)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP with a problem; 431 where the head of a request is too large."""
        large = len(self.conn.trailing_data[0]) > MAX_HEAD_BYTES
        status, title = (431, "Request Header Fields Too Large") if large else (400, "Bad Request")
        detail = f"The head of a request has at most {MAX_HEAD_BYTES:,} bytes." if large else msg
        self._answer(status, title, detail)
        self.transport.close()

    def _answer(self, status: int, title: str, detail: str) -> None:
        """A problem from before any request was read."""
        body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *([(b"retry-after", b"5")] if status == 503 else []),
        ]
        response = h11.Response(status_code=status, headers=headers, reason=title.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _refuse(self) -> None:
        """Lets the client read why, and is not counted meanwhile; of many, only some read it."""
        self.refused.inc()
        self.connections.discard(self)
        self.lingering.add(self)
        if len(self.lingering) > MOST_LINGERING:
            self.transport.abort()
            return
        self._answer(503, "Service Unavailable", "This server has as many connections as it can hold.")
        self.transport.write_eof()
        self._wait(LINGER_SEC)

    def pause_writing(self) -> None:
        """The client takes less than there is: from now on it must take something."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._watch(None)
        super().resume_writing()

    @property
    def _in_a_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))

    def _wait(self, seconds: float | None) -> None:
        """Closes the connection behind so many seconds; one that waits in a head already goes on waiting."""
        if self._waiting is not None and seconds == self.patience_sec:
            return
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if seconds is not None:
            self._waiting = self.loop.call_later(seconds, self.transport.close)

    def _watch(self, left: int | None) -> None:
        """Cuts the connection behind `patience_sec` where as much is `left` as now."""
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None
        if left is not None:
            self._untaken = self.loop.call_later(self.patience_sec, self._look, left)

    def _look(self, left: int) -> None:
        now = self.transport.get_write_buffer_size()
        if now < left:
            self._watch(now)
            return
        _log.info("reader_cut", reason=f"took nothing for {self.patience_sec:g} s")
        self.transport.abort()


def connections_of(patience_sec: float, *, most: int, refused: Counter) -> type[Connection]:
    """The class of the connections of one server, which holds `most` at once and counts those that it `refused`."""
    own = {"patience_sec": patience_sec, "most": most, "refused": refused, "lingering": set()}
    return type("PatientConnection", (Connection,), own)
