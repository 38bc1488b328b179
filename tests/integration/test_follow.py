"""Following a stream over a real file: page by page from disk, then from memory, however many read it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

from graph.events import Event
from server.encryption import Encryption
from server.event_log import EventLog
from server.event_rows import READ_FRAMES, Ending, Written
from server.invocation import Invocation
from server.live_stream import LONGEST_REST_SEC, LiveStream
from server.sealing import StoredValueRefused
from server.sql import Connection, Rows
from server.sqlite import SqliteDatabase
from server.sse import RETRY, follow
from server.status import Status
from tests.fakes import VirtualLoop
from tests.integration.storage import Storage, opened, parsed

pytestmark = pytest.mark.anyio

COMPLETE: Event = {"type": "run_complete", "phases_completed": 2, "usage": {"input_tokens": 3, "output_tokens": 2}}


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with opened(tmp_path) as storage:
        yield storage


async def filled(storage: Storage, last: int) -> Invocation:
    """A turn whose stream has `last` events, the `run_start` included."""
    invocation = await storage.claimed("a")
    writer = storage.log.writer(invocation)
    for number in range(2, last + 1):
        writer.put({"type": "retrying", "number": number})
        await writer.room()
    await writer.flushed()
    return invocation


async def numbers(storage: Storage, position: int) -> list[int | str]:
    """The numbers that a reader gets, and the name of the last frame."""
    chunks = [chunk async for chunk in follow(storage.log, "a", position)]
    assert chunks.pop(0) == RETRY
    *frames, last = b"".join(chunks).removesuffix(b"\n\n").split(b"\n\n")
    kind, data = last.split(b"\n")
    ended: dict[str, Any] = orjson.loads(data.removeprefix(b"data: "))
    assert kind == b"event: " + ended["type"].encode()
    return [parsed(frame + b"\n\n")["sequence_number"] for frame in frames] + [ended["type"]]


@pytest.mark.parametrize("last", [1, READ_FRAMES - 1, READ_FRAMES, READ_FRAMES + 1, 2 * READ_FRAMES])
async def test_an_ended_stream_is_read_whole_whatever_its_length(storage: Storage, last: int) -> None:
    await storage.log.writer(await filled(storage, last - 1) if last > 1 else await storage.claimed("a")).end(
        Ending(COMPLETE, Status.COMPLETED)
    )
    total = max(last, 2)
    for position in (0, 1, total - 1, total, total + 5):
        assert await numbers(storage, position) == [*range(position + 1, total + 1), "done"]


async def test_a_stream_ends_as_if_cut_before_a_page_that_cannot_be_read(tmp_path: Path) -> None:
    async with opened(tmp_path, sealing=Encryption([bytes(32)])) as storage:
        await storage.log.writer(await filled(storage, READ_FRAMES + 5)).end(Ending(COMPLETE, Status.COMPLETED))
        wrong = "UPDATE events SET data = (SELECT data FROM events WHERE seq = 1) WHERE seq = ?"
        await storage.database.write(lambda connection: connection.execute(wrong, (READ_FRAMES + 3,)))
        chunks = [chunk async for chunk in follow(storage.log, "a", 0)]
        frames = b"".join(chunks[1:]).removesuffix(b"\n\n").split(b"\n\n")
        assert [parsed(frame + b"\n\n")["sequence_number"] for frame in frames] == [*range(1, READ_FRAMES + 1)]
        with pytest.raises(StoredValueRefused):
            await anext(follow(storage.log, "a", READ_FRAMES))


@pytest.mark.parametrize("before", [1, READ_FRAMES - 1, READ_FRAMES, READ_FRAMES + 1])
async def test_a_reader_goes_on_from_disk_to_what_comes(storage: Storage, before: int) -> None:
    invocation = await filled(storage, before)
    readers = [asyncio.create_task(numbers(storage, position)) for position in (0, 1, before)]
    writer = storage.log.writer(invocation)
    for number in range(300):
        writer.put({"type": "retrying", "number": number})
        await asyncio.sleep(0)
    await writer.end(Ending(COMPLETE, Status.COMPLETED))
    async with asyncio.timeout(30):
        for position, reader in zip((0, 1, before), readers, strict=True):
            assert await reader == [*range(position + 1, before + 302), "done"]


async def test_removed_events_end_the_stream_with_gone(storage: Storage) -> None:
    await storage.log.writer(await filled(storage, 5)).end(Ending(COMPLETE, Status.COMPLETED))
    await storage.database.write(lambda connection: connection.execute("UPDATE invocations SET events_removed = 1"))
    assert await numbers(storage, 0) == ["gone"]


class Racing:
    """A reader's connection on which the events are removed just before statement number `at` is executed."""

    def __init__(self, path: Path, at: int) -> None:
        self._path, self._at, self._executed = path, at, 0

    def over(self, connection: Connection) -> Self:
        self._connection, self.sealing = connection, connection.sealing
        return self

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        if self._executed == self._at:
            with contextlib.closing(sqlite3.connect(self._path)) as other:
                other.execute("UPDATE invocations SET events_removed = 1")
                other.execute("DELETE FROM events WHERE seq <= 3")
                other.commit()
        self._executed += 1
        return self._connection.execute(sql, parameters)


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_removed_in_the_middle_of_a_reading(storage: Storage, tmp_path: Path, at: int) -> None:
    await storage.log.writer(await filled(storage, 4)).end(Ending(COMPLETE, Status.COMPLETED))
    racing = Racing(tmp_path / "server.sqlite", at)

    class Raced(SqliteDatabase):
        def _read(self, work: Callable[[Connection], Any]) -> Any:
            return super()._read(lambda connection: work(racing.over(connection)))

    database = Raced(tmp_path / "server.sqlite")
    try:
        chunks = [chunk async for chunk in follow(EventLog(database), "a", 0)]
    finally:
        database.close()
    assert [line for line in b"".join(chunks).splitlines() if line.startswith((b"id", b"event"))] == [b"event: gone"]


def test_a_crowd_is_woken_in_turn_and_for_the_last_time_as_well() -> None:
    async def scenario() -> list[int]:
        live, loop = LiveStream(), asyncio.get_running_loop()
        live.users = 100_000
        woken = list[int]()
        await asyncio.sleep(1)
        for number in range(1, 1001):
            change = live.watch()
            live.show(Written([b"frame"], number))
            if change.is_set():
                woken.append(number)
            await asyncio.sleep(0.001)
        change = live.watch()
        begun = loop.time()
        live.show(Written([b"last"], 1001, Status.COMPLETED))
        await change.wait()
        assert loop.time() - begun <= LONGEST_REST_SEC + 1e-6
        assert live.since(1000) == [b"last"]
        return woken

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(scenario()) == [1], "all but the first are shown with those that follow"


def test_one_reader_is_woken_by_each_write_that_does_not_come_at_once() -> None:
    async def scenario() -> None:
        live = LiveStream()
        live.users = 2
        for number in range(1, 100):
            await asyncio.sleep(0.001)
            change = live.watch()
            live.show(Written([b"frame"], number))
            assert change.is_set()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
