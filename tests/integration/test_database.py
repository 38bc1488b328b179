"""The server's SQLite file: group commit, failures that undo only themselves, readers beside the writer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.database import Database, DatabaseUnusable, StorageFailed
from server.sql import Connection
from server.sqlite import SqliteDatabase
from tests.integration.storage import held, traced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = SqliteDatabase(tmp_path / "server.sqlite")
    database.write_now(lambda connection: connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    database.start()
    yield database
    database.close()


async def write(database: Database, number: int) -> None:
    await database.write(lambda connection: connection.execute("INSERT INTO t VALUES (?)", (number,)))


async def stored(database: Database) -> list[int]:
    return await database.read(lambda connection: [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")])


async def submitted(*tasks: asyncio.Task[None]) -> None:
    """Returns when the tasks have handed in their writes."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_writes_that_wait_share_one_commit(database: Database) -> None:
    statements = await traced(database)
    with held(database):
        tasks = [asyncio.create_task(write(database, number)) for number in range(200)]
        await submitted(*tasks)
    await asyncio.gather(*tasks)
    assert statements.count("COMMIT") == 2, "the one that was held, and one for all that waited"
    assert await stored(database) == list(range(200))


async def test_a_lone_write_does_not_wait_for_others(database: Database) -> None:
    await write(database, 1)
    assert await stored(database) == [1]


async def test_an_exception_undoes_only_its_own_job(database: Database) -> None:
    def broken(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (99)")
        raise ValueError("of this job alone")

    with held(database):
        tasks = [asyncio.create_task(write(database, 1)), asyncio.create_task(database.write(broken))]
        tasks.append(asyncio.create_task(write(database, 2)))
        await submitted(*tasks)
    outcome = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in outcome] == [type(None), ValueError, type(None)]
    assert await stored(database) == [1, 2]


async def test_an_error_of_the_disk_fails_the_whole_batch_and_the_next_one_goes_on(database: Database) -> None:
    await write(database, 1)
    with held(database):
        tasks = [asyncio.create_task(write(database, 2)), asyncio.create_task(write(database, 1))]
        await submitted(*tasks)
    outcome = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in outcome] == [StorageFailed, StorageFailed]
    assert await stored(database) == [1]
    await write(database, 3)
    assert await stored(database) == [1, 3]


async def test_nothing_is_seen_before_it_is_committed(database: Database) -> None:
    with held(database):
        task = asyncio.create_task(write(database, 1))
        await submitted(task)
        assert await stored(database) == []
    await task
    assert await stored(database) == [1]


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageFailed):
        await database.read(lambda connection: connection.execute("INSERT INTO t VALUES (1)"))


async def test_many_readers_beside_a_writer(database: Database) -> None:
    async def read() -> None:
        for _ in range(10):
            numbers = await stored(database)
            assert numbers == list(range(len(numbers)))

    async def fill() -> None:
        for number in range(50):
            await write(database, number)

    await asyncio.gather(fill(), *(read() for _ in range(8)))


async def test_a_waiter_that_gave_up_does_not_stop_the_others(database: Database) -> None:
    with held(database):
        tasks = [asyncio.create_task(write(database, number)) for number in range(3)]
        await submitted(*tasks)
        tasks[0].cancel()
    await asyncio.gather(*tasks[1:])
    assert await stored(database) == [0, 1, 2]


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "server.sqlite")
    database.write_now(lambda connection: connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    database.start()
    for _ in range(20):
        database.submit(lambda connection: connection.execute("INSERT INTO t DEFAULT VALUES"), lambda *_: None)
    database.close()
    again = SqliteDatabase(tmp_path / "server.sqlite")
    assert again.write_now(lambda connection: connection.execute("SELECT count(*) FROM t").fetchone()[0]) == 20
    again.close()


@pytest.mark.parametrize(("pragma", "value"), [("PRAGMA journal_mode", "wal"), ("PRAGMA synchronous", 2)])
async def test_a_commit_is_on_disk_when_it_returns(database: Database, pragma: str, value: object) -> None:
    assert await database.write(lambda connection: connection.execute(pragma).fetchone()[0]) == value


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(DatabaseUnusable, match=r"server\.sqlite"):
        SqliteDatabase(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    SqliteDatabase(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(DatabaseUnusable, match="999"):
        SqliteDatabase(path)
