"""The event log over a real file: numbers without gaps, boundaries once, fencing, memory and disk alike."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.events import Event
from server.event_rows import Ending, Superseded, joined
from server.invocation import Invocation
from server.live_stream import RING_FRAMES
from server.report_store import ReportStore, StoredReport
from server.status import Status
from tests.integration.storage import Storage, held, opened, parsed, traced

pytestmark = pytest.mark.anyio

USAGE = {"input_tokens": 3, "output_tokens": 2}
COMPLETE: Event = {"type": "run_complete", "phases_completed": 2, "usage": USAGE}


@pytest.fixture
async def storage(tmp_path: Path, database_url: str | None) -> AsyncIterator[Storage]:
    async with opened(tmp_path, database_url) as storage:
        yield storage


def token(content: str, index: int = 1) -> Event:
    return {"type": "token", "content": content, "phase": 1, "index": index}


def start(index: int, attempt: int = 1) -> Event:
    return {"type": "subcall_start", "phase": 1, "index": index, "attempt": attempt}


def end(index: int) -> Event:
    return {"type": "subcall_end", "phase": 1, "index": index, "usage": USAGE}


def note(number: int) -> Event:
    """An event that may come again."""
    return {"type": "retrying", "number": number}


async def put(storage: Storage, invocation: Invocation, *events: Event) -> None:
    writer = storage.log.writer(invocation)
    for event in events:
        writer.put(event)
    await writer.flushed()


async def told(storage: Storage, invocation: Invocation) -> list[dict[str, Any]]:
    """All events but the `run_start` that the claim wrote."""
    return [event for event in await storage.events(invocation) if event["type"] != "run_start"]


async def test_events_are_numbered_and_stamped_but_tokens_not(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    await put(storage, invocation, start(1), token("x"), end(1))
    events = await storage.events(invocation)
    assert [event["sequence_number"] for event in events] == [1, 2, 3, 4]
    stamps = {"server_time_utc": "1970-01-01T00:16:40.000Z", "server_uptime_sec": 1.5}
    assert [{name: event[name] for name in stamps if name in event} for event in events] == [stamps, stamps, {}, stamps]


async def test_many_writers_give_each_stream_its_own_numbers_without_gaps(storage: Storage) -> None:
    turns = [await storage.claimed(f"turn-{number}") for number in range(12)]

    async def work(invocation: Invocation) -> None:
        writer = storage.log.writer(invocation)
        for number in range(60):
            writer.put(note(number))
            if number % 7 == 0:
                await writer.flushed()
            await writer.room()
        await writer.flushed()

    await asyncio.gather(*map(work, turns))
    for invocation in turns:
        events = await storage.events(invocation)
        assert [event["sequence_number"] for event in events] == list(range(1, 62))
        assert [event["number"] for event in events[1:]] == list(range(60))
        assert (await storage.found(invocation.id)).last_event_id == 61


async def test_a_boundary_comes_once_and_leaves_no_gap(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    await put(storage, invocation, start(1), end(1), end(1), note(1), start(1), end(2))
    events = await told(storage, invocation)
    assert [event["type"] for event in events] == ["subcall_start", "subcall_end", "retrying", "subcall_end"]
    assert [event["sequence_number"] for event in events] == [2, 3, 4, 5]
    assert (await storage.found("a")).output_tokens == 2 * USAGE["output_tokens"]


async def test_a_boundary_is_unknown_in_another_stream(storage: Storage) -> None:
    turns = [await storage.claimed(name) for name in ("a", "b")]
    for invocation in turns:
        await put(storage, invocation, start(1), end(1))
    assert [len(await told(storage, invocation)) for invocation in turns] == [2, 2]


async def test_an_older_claim_is_refused_and_writes_nothing(storage: Storage) -> None:
    old = await storage.claimed("a")
    await storage.store.requeue(old)
    new = await storage.store.claim(2_000.0)
    assert new is not None
    assert new.epoch == old.epoch + 1
    before = await storage.events(new)
    writer = storage.log.writer(old)
    writer.put(note(1))
    with pytest.raises(Superseded):
        await writer.flushed()
    with pytest.raises(Superseded):
        writer.put(note(2))
    with pytest.raises(Superseded):
        await storage.log.writer(old).end(Ending(COMPLETE, Status.COMPLETED))
    assert await storage.events(new) == before
    await put(storage, new, note(3))
    assert [event.get("number") for event in await storage.events(new)][-1] == 3


async def test_a_refused_write_does_not_touch_those_beside_it(storage: Storage) -> None:
    good, bad = await storage.claimed("a"), await storage.claimed("b")
    with held(storage.database):
        refused, fine = storage.log.writer(replace(bad, epoch=99)), storage.log.writer(good)
        refused.put(note(1))
        fine.put(note(1))
    await fine.flushed()
    with pytest.raises(Superseded):
        await refused.flushed()
    assert len(await told(storage, good)) == 1


async def test_tokens_that_wait_together_become_one_event(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    with held(storage.database):
        writer = storage.log.writer(invocation)
        writer.put(start(1))
        for piece in ("a", "b", "c"):
            writer.put(token(piece))
        writer.put(token("d", index=2))
    await writer.flushed()
    assert [event.get("content") for event in await told(storage, invocation)] == [None, "abc", "d"]


@given(st.lists(st.tuples(st.sampled_from(["a", "bc", ""]), st.integers(1, 2)) | st.none(), max_size=30))
def test_joining_loses_and_moves_nothing(pieces: list[tuple[str, int] | None]) -> None:
    events = [note(0) if piece is None else token(*piece) for piece in pieces]
    before = [dict(event) for event in events]
    result = joined(events)
    assert events == before, "the events that were given are not changed"

    def spelled(events: list[Event]) -> str:
        return "".join(
            f"{e['index']}{c}" for e in events for c in (e["content"] if e["type"] == "token" else "")
        ) + str(sum(e["type"] != "token" for e in events))

    assert spelled(result) == spelled(events)
    for one, other in itertools.pairwise(result):
        assert not (one["type"] == other["type"] == "token" and one["index"] == other["index"])


async def test_memory_and_disk_show_the_same_at_every_position(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    with storage.log.attached(invocation.id) as live:
        for number in range(30):
            await put(storage, invocation, note(number))
        for position in range(1, 33):
            assert live.since(position) == await storage.log.frames(invocation, position)
        assert live.since(0) is None, "the run_start was written before anybody was attached"
        assert live.since(10**18) == []


async def test_what_the_ring_has_dropped_is_read_from_disk(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    with storage.log.attached(invocation.id) as live:
        total = 2 * RING_FRAMES + 200
        for begin in range(0, total, 400):
            await put(storage, invocation, *(note(number) for number in range(begin, min(begin + 400, total))))
        for position in (1, 100, total - 2 * RING_FRAMES - 1):
            assert live.since(position) is None
        for position in (total - RING_FRAMES + 2, total - 1, total, total + 1):
            frames = live.since(position)
            assert frames is not None
            assert frames == await storage.log.frames(invocation, position)


async def test_a_watcher_hears_only_of_what_is_on_disk(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    with storage.log.attached(invocation.id) as live:
        change = live.watch()
        with held(storage.database):
            writer = storage.log.writer(invocation)
            writer.put(note(1))
            await asyncio.sleep(0)
            assert not change.is_set()
            assert len(await storage.events(invocation)) == 1
        async with asyncio.timeout(5):
            await change.wait()
        assert [parsed(frame)["number"] for frame in live.since(1) or []] == [1]


@pytest.mark.backends("sqlite")
async def test_the_last_event_the_state_and_the_report_are_one_transaction(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    statements = await traced(storage.database)
    await storage.log.writer(invocation).end(Ending(COMPLETE, Status.COMPLETED, report="# Report"))
    writes = [line.split()[0] for line in statements if line.split()[0] in ("BEGIN", "INSERT", "UPDATE", "COMMIT")]
    assert (writes[0], writes[-1]) == ("BEGIN", "COMMIT")
    assert (writes.count("BEGIN"), writes.count("COMMIT")) == (1, 1)
    assert writes.count("INSERT") == 2
    record = await storage.found("a")
    assert (record.status, record.last_event_id, record.ended_at) == (Status.COMPLETED, 2, 1_000.0)
    assert (await ReportStore(storage.database).of(record)) == StoredReport("# Report", None)


async def test_an_end_that_fails_half_way_leaves_neither_event_nor_state(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    await storage.database.write(
        lambda connection: connection.execute("INSERT INTO reports (n, markdown) VALUES (?, 'x')", (invocation.n,))
    )
    with pytest.raises(Exception, match="could not be written"):
        await storage.log.writer(invocation).end(Ending(COMPLETE, Status.COMPLETED, report="# Report"))
    assert await told(storage, invocation) == []
    assert (await storage.found("a")).status is Status.RUNNING


async def test_nothing_comes_behind_the_end(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    await storage.log.writer(invocation).end(Ending(COMPLETE, Status.COMPLETED))
    before = await storage.events(invocation)
    for event in (note(1), COMPLETE):
        with pytest.raises(Superseded):
            await put(storage, invocation, event)
    assert await storage.events(invocation) == before


async def test_an_attached_reader_learns_the_end(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    with storage.log.attached(invocation.id) as live:
        assert live.status is None
        await storage.log.writer(invocation).end(Ending(COMPLETE, Status.COMPLETED))
        assert live.status is Status.COMPLETED


async def test_an_end_that_nobody_waits_for_any_more_does_not_strand_other_turns(storage: Storage) -> None:
    ending, other = await storage.claimed("a"), await storage.claimed("b")
    with held(storage.database):
        task = asyncio.create_task(storage.log.writer(ending).end(Ending(COMPLETE, Status.COMPLETED)))
        await asyncio.sleep(0)
        writer = storage.log.writer(other)
        writer.put(note(1))
        task.cancel()
    async with asyncio.timeout(2):
        await writer.flushed()
    assert (await storage.found("a")).status is Status.COMPLETED


async def test_the_tail_begins_with_the_last_subcall_start(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    await put(storage, invocation, start(1), token("x"), end(1), start(2), token("y"), note(1), start(2, 2), token("z"))
    keys, tail = await storage.log.keys_and_tail(invocation)
    assert [event["type"] for event in tail] == ["subcall_start", "token"]
    assert tail[0]["attempt"] == 2
    assert {"subcall_start:1:1:1", "subcall_end:1:1", "subcall_start:1:2:1", "subcall_start:1:2:2"} <= set(keys)


async def test_the_log_outlives_the_process(tmp_path: Path, database_url: str | None) -> None:
    async with opened(tmp_path, database_url) as storage:
        invocation = await storage.claimed("a")
        await put(storage, invocation, start(1), token("x"))
        before = await storage.log.frames(invocation, 0)
    async with opened(tmp_path, database_url) as storage:
        assert await storage.log.frames(invocation, 0) == before
        again = await storage.store.claim(2_000.0)
        assert again is not None
        await put(storage, again, note(1))
        numbers = [event["sequence_number"] for event in await storage.events(again)]
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.backends("sqlite")
async def test_one_fsync_carries_the_events_of_many_turns(storage: Storage) -> None:
    turns = [await storage.claimed(f"turn-{number}") for number in range(20)]
    statements = await traced(storage.database)
    with held(storage.database):
        writers = [storage.log.writer(invocation) for invocation in turns]
        for writer in writers:
            for number in range(10):
                writer.put(note(number))
    await asyncio.gather(*(writer.flushed() for writer in writers))
    assert statements.count("COMMIT") <= 4
