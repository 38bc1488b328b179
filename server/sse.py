"""The event stream of one invocation: recent frames from memory, older ones from disk, then what comes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING, Final

import orjson
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Send

from server.event_rows import READ_FRAMES, EventsRemoved
from server.owners import public
from server.sealing import StoredValueRefused

if TYPE_CHECKING:
    from server.event_log import EventLog
    from server.invocation import Invocation
    from server.live_stream import LiveStream
    from server.status import Status

_log = structlog.get_logger(__name__)

RETRY: Final = b"retry: 1000\n\n"


class _Stream(EventSourceResponse):
    """Without the timer that sse-starlette makes for each write, also where it is to have none: a third of its cost."""

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        await send(message)


async def stream_response(
    frames: AsyncGenerator[bytes, None], *, ping_sec: float, headers: dict[str, str]
) -> EventSourceResponse:
    """The HTTP answer that sends `frames` and a comment each `ping_sec` seconds. Raises what the first frames do."""
    first = await anext(frames)
    return _Stream(
        _whole(first, frames),
        headers={"Cache-Control": "no-store", **headers},
        ping=ping_sec,
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive", sep="\n"),
    )


async def _whole(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def follow(
    log: EventLog,
    invocation_id: str,
    position: int,
    *,
    held: AbstractContextManager[object] | None = None,
    admitted: Callable[[], bool] = lambda: True,
) -> AsyncGenerator[bytes, None]:
    """Frames behind number `position`, several at a time, until the stream is over, or this process is to end.

    `held` is closed behind it. Once the reader is not `admitted` any more, it ends.
    """
    with held or nullcontext(), log.attached(invocation_id) as live, log.metrics.reading() as reading:
        # Read while attached, so that an end is either in the record or will be shown.
        invocation, frames = await log.opened(invocation_id, position)
        yield RETRY
        if invocation is None:
            reading.closed = "gone"
            return
        try:
            async for chunk in _behind(log, live, invocation, position, frames):
                if not admitted():
                    _log.info("reader_cut", reason="its key was revoked")
                    return
                yield chunk
            reading.closed = "let_go" if live.closed else "done"
        except EventsRemoved:
            reading.closed = "gone"
            yield _last("gone", invocation.id, live.status or invocation.status)
        except StoredValueRefused as error:
            # As a lost connection: who asks for the rest is answered with a problem.
            _log.error("stored_value_refused", invocation_id=public(invocation_id), reason=str(error))


async def _behind(
    log: EventLog, live: LiveStream, invocation: Invocation, position: int, frames: list[bytes] | None
) -> AsyncIterator[bytes]:
    """Begins with `frames` from disk; while a full page comes, the disk has more, then memory goes on from there."""
    if frames is None:
        raise EventsRemoved
    if frames:
        position += len(frames)
        yield b"".join(frames)
    on_disk, waited = len(frames) == READ_FRAMES, False
    while not live.closed:
        change = live.watch()
        status = live.status or (invocation.status if invocation.status.ended else None)
        found = None if on_disk else live.since(position)
        if found is None:
            found = await log.frames(invocation, position)
            on_disk = len(found) == READ_FRAMES
        if found:
            position += len(found)
            yield b"".join(found)
            if waited:
                log.metrics.reader_lag.observe(time.perf_counter() - live.shown_at)
                waited = False
        elif status is not None:
            yield _last("done", invocation.id, status)
            return
        elif not on_disk and live.since(position) == []:
            await change.wait()
            waited = True


def _last(kind: str, invocation_id: str, status: Status) -> bytes:
    data = orjson.dumps({"type": kind, "invocation_id": public(invocation_id), "status": status})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
