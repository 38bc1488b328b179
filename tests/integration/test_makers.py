"""Documents made beside the event loop: each key in its turn, and none behind the end of the server."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from server.makers import Makers

pytestmark = pytest.mark.anyio


async def test_whoever_asks_for_many_keeps_nobody_else_waiting() -> None:
    makers, free = Makers(), threading.Event()
    many = [asyncio.create_task(makers.made("alice", lambda: free.wait(30))) for _ in range(20)]
    try:
        assert await makers.made("bob", lambda: "made") == "made"
        assert not any(task.done() for task in many)
    finally:
        free.set()
    assert await asyncio.gather(*many) == [True] * 20
    makers.close()


async def test_who_has_gone_has_nothing_made() -> None:
    makers, begun, free = Makers(), threading.Event(), threading.Event()
    made: list[str] = []

    def first() -> None:
        begun.set()
        free.wait(30)

    waiting = asyncio.create_task(makers.made("alice", first))
    await asyncio.to_thread(begun.wait, 30)
    gone = asyncio.create_task(makers.made("alice", lambda: made.append("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    free.set()
    await waiting
    await makers.made("alice", lambda: made.append("last"))
    assert made == ["last"]
    makers.close()


async def test_its_lines_in_the_log_are_the_request_s() -> None:
    makers = Makers()
    with bound_contextvars(request_id="req_1"):
        assert (await makers.made("", get_contextvars))["request_id"] == "req_1"
    with pytest.raises(ZeroDivisionError):
        await makers.made("", lambda: 1 / 0)
    makers.close()
