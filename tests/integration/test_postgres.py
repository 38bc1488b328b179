"""What is of PostgreSQL alone: fenced checkpoints and jobs, one host's decision at a time, notices, the schema."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from procrastinate.jobs import Job
from procrastinate.jobs import Status as JobStatus

from graph.events import Event
from server.accept import ThreadBusy
from server.claims import under_claim
from server.database import DatabaseUnusable, StorageFailed
from server.database_check import state_of_postgres
from server.event_rows import Ending, Superseded
from server.live_stream import LiveStream
from server.metrics import Metrics
from server.migrations import SchemaTooNew
from server.postgres.checkpoints import PostgresCheckpoints, open_checkpoints
from server.postgres.connection import parameters_of, reason
from server.postgres.database import CHANNEL, PostgresDatabase
from server.postgres.jobs import QUEUE, FencedJobs, Queue, open_app, still_has
from server.postgres.relay import Relay
from server.postgres.schema import schema_lock
from server.runner import Runner
from server.running import Running
from server.sql import Connection
from server.sse import follow
from server.status import Status
from tests.integration.storage import Storage, held, new, opened

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
async def storage(tmp_path: Path, database_url: str) -> AsyncIterator[Storage]:
    async with opened(tmp_path, database_url) as storage:
        yield storage


@pytest.fixture
async def saver(database_url: str) -> AsyncIterator[PostgresCheckpoints]:
    saver = await open_checkpoints(parameters_of(database_url, lease_sec=10))
    yield saver
    await saver.conn.close()


@pytest.fixture
async def jobs(storage: Storage, database_url: str) -> AsyncIterator[FencedJobs]:
    async def run() -> None:
        """Nothing: the tests take jobs themselves."""

    app = open_app(database_url, run)
    async with app.open_async():
        yield cast(FencedJobs, app.job_manager)


async def put(saver: PostgresCheckpoints) -> RunnableConfig:
    return await saver.aput(CONFIG, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})


async def test_checkpoints_of_an_older_claim_are_refused(storage: Storage, saver: PostgresCheckpoints) -> None:
    old = await storage.claimed("a", "t")
    with under_claim(old):
        saved = await put(saver)
        await saver.aput_writes(saved, [("findings", ["x"])], "task")
    await storage.store.requeue(old)
    later = await storage.store.claim(2_000.0)
    assert later is not None
    with under_claim(old):
        with pytest.raises(Superseded):
            await put(saver)
        with pytest.raises(Superseded):
            await saver.aput_writes(saved, [("findings", ["y"])], "task 2")
        with pytest.raises(Superseded):
            await saver.adelete_thread("t")
    kept = await saver.aget_tuple(CONFIG)
    assert kept is not None
    assert kept.config == saved
    assert [write[2] for write in kept.pending_writes or []] == [["x"]]
    with under_claim(later):
        assert await put(saver) != saved


async def test_a_checkpoint_under_way_holds_a_later_claim_off(storage: Storage, saver: PostgresCheckpoints) -> None:
    old = await storage.claimed("a", "t")
    await storage.store.requeue(old)
    with under_claim(await claimed_again(storage)):
        async with saver._cursor(pipeline=True) as cursor:
            await (await cursor.execute("SELECT 1")).fetchone()  # behind what went before it in the pipeline
            claiming = asyncio.create_task(storage.store.claim_on_thread("t", 3_000.0, lambda connection: True))
            await asyncio.sleep(0.1)
            assert not claiming.done(), "the claim overtook a checkpoint that was being written"
        assert await claiming is not None


async def claimed_again(storage: Storage) -> Any:
    return await storage.store.claim(2_000.0)


async def test_an_unclaimed_turn_writes_no_checkpoint(storage: Storage, saver: PostgresCheckpoints) -> None:
    with pytest.raises(AssertionError):
        await put(saver)


async def test_a_job_is_finished_by_the_worker_that_has_it_alone(storage: Storage, jobs: FencedJobs) -> None:
    first, second = await jobs.register_worker(), await jobs.register_worker()
    await enqueue(storage, "a", "t")
    frozen = await fetched(jobs, first)
    assert await has(storage, frozen)
    await jobs.retry_job(frozen)
    assert not await has(storage, frozen)
    taken = await fetched(jobs, second)
    for write in (
        partial(jobs.finish_job, frozen, JobStatus.SUCCEEDED, True),
        partial(jobs.retry_job, frozen),
        partial(jobs.finish_job, frozen, JobStatus.FAILED, False),
    ):
        await write()
        assert await has(storage, taken), "the job was taken away from the worker that runs it"
    await jobs.finish_job(taken, JobStatus.SUCCEEDED, True)
    assert list(await jobs.list_jobs_async()) == []


async def test_jobs_of_a_thread_run_one_at_a_time(storage: Storage, jobs: FencedJobs) -> None:
    worker = await jobs.register_worker()
    for name in ("a", "b"):
        await enqueue(storage, name, "t")
    first = await fetched(jobs, worker)
    assert await jobs.fetch_job([QUEUE], worker) is None
    await jobs.finish_job(first, JobStatus.SUCCEEDED, True)
    assert await jobs.fetch_job([QUEUE], worker) is not None


@pytest.mark.parametrize("left", ["finished", "given back"])
async def test_a_job_that_is_left_wakes_the_workers(
    storage: Storage, jobs: FencedJobs, database_url: str, left: str
) -> None:
    await enqueue(storage, "a", "t")
    job = await fetched(jobs, await jobs.register_worker())
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f'LISTEN "procrastinate_queue_v1#{QUEUE}"'.encode())
        if left == "finished":
            await jobs.finish_job(job, JobStatus.SUCCEEDED, True)
        else:
            await jobs.retry_job(job)
        heard = [notice.payload async for notice in connection.notifies(timeout=5, stop_after=1)]
    assert [orjson_type(payload) for payload in heard] == ["job_inserted"]


def orjson_type(payload: str) -> str:
    import orjson

    return str(orjson.loads(payload)["type"])


async def enqueue(storage: Storage, name: str, thread: str) -> None:
    invocation = await storage.accepted(name, thread)
    queue = Queue("")
    await storage.database.write(lambda connection: queue.put(connection, invocation))


async def fetched(jobs: FencedJobs, worker: int) -> Job:
    job = await jobs.fetch_job([QUEUE], worker)
    assert job is not None
    return job


async def has(storage: Storage, job: Job) -> bool:
    return await storage.database.read(partial(still_has, job=job))


async def test_writes_that_wait_share_one_commit(storage: Storage) -> None:
    turns = [await storage.claimed(f"turn-{number}") for number in range(20)]
    with held(storage.database):
        writers = [storage.log.writer(invocation) for invocation in turns]
        for writer in writers:
            writer.put(note(1))
    await asyncio.gather(*(writer.flushed() for writer in writers))
    assert await transactions(storage, "SELECT count(DISTINCT xmin::text) FROM events WHERE seq = 2") <= 2


async def test_one_notice_tells_of_a_batch(storage: Storage, database_url: str) -> None:
    turns = [await storage.claimed(f"turn-{number}") for number in range(20)]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}".encode())
        with held(storage.database):
            writers = [storage.log.writer(invocation) for invocation in turns]
            for writer in writers:
                writer.put(note(1))
        await asyncio.gather(*(writer.flushed() for writer in writers))
        heard = [notice.payload async for notice in connection.notifies(timeout=0.5)]
    assert sum(len(payload.split()) - 1 for payload in heard) == 20
    assert len(heard) <= 2


async def test_an_error_of_one_job_fails_that_one_alone(storage: Storage) -> None:
    def broken(connection: Connection) -> None:
        connection.execute("UPDATE probe SET passed = 1000")
        connection.execute("SELECT 1 / 0")

    with held(storage.database):
        fine = [asyncio.create_task(storage.accepted(f"turn-{number}")) for number in range(3)]
        bad = asyncio.create_task(storage.database.write(broken))
        await asyncio.sleep(0)
    assert [turn.id for turn in await asyncio.gather(*fine)] == ["turn-0", "turn-1", "turn-2"]
    with pytest.raises(StorageFailed, match="division"):
        await bad
    assert await transactions(storage, "SELECT passed FROM probe") == 0


async def test_two_hosts_that_accept_at_once_keep_one_order(tmp_path: Path, database_url: str) -> None:
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(opened(tmp_path, database_url)) for _ in range(3)]
        names = [f"turn-{number}" for number in range(30)]
        taken = await asyncio.gather(
            *(
                host.store.accept(new(name, f"thread-{number % 5}", multitask_strategy="reject"), limit=100)
                for number, (host, name) in enumerate(zip(itertools.cycle(hosts), names, strict=False))
            ),
            return_exceptions=True,
        )
    refused = [one for one in taken if isinstance(one, BaseException)]
    assert len(taken) - len(refused) == 5, "one turn a thread, whichever host took it"
    assert {type(one) for one in refused} == {ThreadBusy}


async def test_batches_in_opposite_order_do_not_wait_for_each_other(tmp_path: Path, database_url: str) -> None:
    async with opened(tmp_path, database_url) as one, opened(tmp_path, database_url) as other:
        for _ in range(20):
            with held(one.database), held(other.database):
                writes = [
                    asyncio.create_task(host.database.write(partial(touch, thread=thread), thread=thread))
                    for host, threads in ((one, ("a", "b")), (other, ("b", "a")))
                    for thread in threads
                ]
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await asyncio.gather(*writes)


def touch(connection: Connection, *, thread: str) -> None:
    connection.execute("DELETE FROM erasures WHERE thread_id = ?", (thread,))
    connection.execute("INSERT INTO erasures (thread_id, since) VALUES (?, 0)", (thread,))


async def test_one_name_taken_at_once_by_two_hosts(tmp_path: Path, database_url: str) -> None:
    async with opened(tmp_path, database_url) as one, opened(tmp_path, database_url) as other:
        for number in range(20):
            asked = [
                host.store.accept(new(name, f"{name}", idempotency_key=f"key-{number}"), limit=100)
                for host, name in ((one, f"one-{number}"), (other, f"other-{number}"))
            ]
            first, second = await asyncio.gather(*asked)
            assert first.invocation.id == second.invocation.id
            assert {first.repeated, second.repeated} == {True, False}


async def test_hosts_that_start_at_once_agree_on_the_schema(database_url: str) -> None:
    parameters = parameters_of(database_url, lease_sec=10)
    databases = await asyncio.gather(*(asyncio.to_thread(PostgresDatabase, parameters) for _ in range(6)))
    savers = await asyncio.gather(*(open_checkpoints(parameters) for _ in range(4)))
    for saver in savers:
        await saver.conn.close()
    for database in databases:
        database._disconnect()


def test_a_host_that_freezes_while_it_holds_the_schema_loses_it(database_url: str) -> None:
    with (
        pytest.raises(psycopg.OperationalError),  # it finds its connection gone
        psycopg.connect(database_url, autocommit=True) as frozen,
        schema_lock(frozen, idle_sec=0.2),
        psycopg.connect(database_url, autocommit=True) as other,
        schema_lock(other),
    ):
        pass


def test_a_schema_lock_leaves_its_connection_as_it_was(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with schema_lock(connection):
            pass
        row = connection.execute("SHOW idle_session_timeout").fetchone()
        assert row == ("0",)


def test_a_newer_schema_is_refused(database_url: str) -> None:
    parameters = parameters_of(database_url, lease_sec=10)
    assert "made at the first start" in state_of_postgres(database_url)
    PostgresDatabase(parameters)._disconnect()
    assert re.fullmatch(r"PostgreSQL answers, schema \d+", state_of_postgres(database_url))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE research_schema SET version = '999' WHERE part = 'server'")
    with pytest.raises(DatabaseUnusable, match="999"):
        PostgresDatabase(parameters)
    with pytest.raises(SchemaTooNew, match="999"):
        state_of_postgres(database_url)


def test_an_unreachable_database_is_one_sentence() -> None:
    with pytest.raises(DatabaseUnusable, match="DATABASE_URL: the database cannot be reached") as caught:
        PostgresDatabase(parameters_of("postgresql://someone:planted@127.0.0.1:1/x", lease_sec=10))
    assert "planted" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reason_quotes_no_row(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE secrets (word text PRIMARY KEY)")
        connection.execute("INSERT INTO secrets VALUES ('planted')")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("INSERT INTO secrets VALUES ('planted')")
    assert "planted" in str(caught.value)
    assert "planted" not in reason(caught.value)


async def transactions(storage: Storage, query: str) -> int:
    return await storage.database.read(lambda connection: int(connection.execute(query).fetchone()[0]))


def note(number: int) -> Event:
    return {"type": "retrying", "number": number}


async def test_what_two_hosts_write_and_both_show_is_one_stream(tmp_path: Path, database_url: str) -> None:
    """A host relays what it shows by itself as well, and what the other wrote between."""
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(opened(tmp_path, database_url)) for _ in range(2)]
        relays = [relay_of(host, database_url) for host in hosts]
        turn = await hosts[0].claimed("a")
        streams = [stack.enter_context(host.log.attached("a")) for host in hosts]
        seen: list[dict[int, bytes]] = [{}, {}]
        for number in range(60):
            writers = [host.log.writer(turn) for host in hosts]
            for writer in writers:
                writer.put(note(number))
            # The look reads while the host's own write is shown.
            await asyncio.gather(*(writer.flushed() for writer in writers), *(relay._look(None) for relay in relays))
            for stream, frames in zip(streams, seen, strict=True):
                take(stream, frames)
        whole = dict(enumerate(await hosts[0].log.frames(turn, 0), start=1))
        assert len(whole) == 121
        for frames in seen:
            assert len(frames) > 60, "nothing was shown"
            assert frames.items() <= whole.items()


def relay_of(host: Storage, url: str) -> Relay:
    return Relay(url, cast(PostgresDatabase, host.database), host.log, Running(cast(Runner, None), Metrics()))


def take(stream: LiveStream, frames: dict[int, bytes]) -> None:
    """What the stream has in memory, by the numbers that readers give it."""
    position = stream.last
    while position > 0 and (shown := stream.since(position - 1)) is not None:
        frames[position] = shown[0]
        position -= 1


@pytest.mark.parametrize("removal", ["retention", "erasing"])
async def test_a_reader_hears_of_an_end_whose_events_are_gone_already(
    tmp_path: Path, database_url: str, removal: str
) -> None:
    """A host that was cut off for a while learns of the end and of the removal in one look."""
    async with AsyncExitStack() as stack:
        here, other = [await stack.enter_async_context(opened(tmp_path, database_url, recover=False)) for _ in "ab"]
        invocation = await other.claimed("a")
        kept = asyncio.create_task(ends(here, 1))
        stream = await followed(here, "a")
        writer = other.log.writer(invocation)
        writer.put(note(1))
        await writer.end(Ending({"type": "run_complete", "phases_completed": 2}, Status.COMPLETED))
        if removal == "retention":
            await other.database.write(partial(execute, sql="UPDATE invocations SET events_removed = 1"))
            await other.database.write(partial(execute, sql="DELETE FROM events WHERE seq <= 2"))
        else:
            await other.database.write(partial(execute, sql="DELETE FROM events"))
            await other.database.write(partial(execute, sql="DELETE FROM invocations"))
        relay = relay_of(here, database_url)
        relay.start()
        try:
            async with asyncio.timeout(5):
                assert await kept == ["gone"]
        finally:
            await relay.stop()
        assert not stream.users


async def followed(host: Storage, name: str) -> LiveStream:
    """The stream as soon as a reader has read all there is."""
    while (live := host.log.streams.get(name)) is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    return live


async def ends(host: Storage, position: int) -> list[str]:
    """Which frame without a number a reader gets."""
    chunks = [chunk async for chunk in follow(host.log, "a", position)]
    return [line[7:].decode() for line in b"".join(chunks).splitlines() if line.startswith(b"event: ")]


def execute(connection: Connection, *, sql: str) -> None:
    connection.execute(sql)
