"""How long it takes to remove the events of ended turns from a large table, on either database, while others write.

`python -m benchmarks.retention` starts a PostgreSQL server of its own. One line of JSON for each database.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from server.retention import Retention
from server.sql import Connection
from tests.integration.storage import Storage, opened
from tests.postgres_server import PostgresServer

TURNS, EVENTS = 100, 3000
DATA = b'{"sequence_number":1,"type":"token","content":"' + b"x" * 180 + b'"}'


async def measured(name: str, url: str | None) -> None:
    """Removes the events of all turns but one, which goes on writing."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder), url) as storage:
            for number in range(TURNS):
                await _ended(storage, f"turn-{number}")
            retention = Retention(storage.database, storage.log, ttl_sec=1)
            sweeping, waits = asyncio.create_task(retention.sweep()), list[float]()
            writer = storage.log.writer(await storage.claimed("busy"))
            began = time.monotonic()
            while not sweeping.done():
                before = time.monotonic()
                writer.put({"type": "retrying"})
                await writer.flushed()
                waits.append(time.monotonic() - before)
            seconds = time.monotonic() - began
    told = {"database": name, "events": TURNS * EVENTS, "events_a_sec": round(TURNS * EVENTS / seconds)}
    delays = {"median_write_ms": 1000 * statistics.median(waits), "worst_write_ms": 1000 * max(waits)}
    print(json.dumps({"benchmark": "retention"} | told | {name: round(ms, 1) for name, ms in delays.items()}))


async def _ended(storage: Storage, name: str) -> None:
    n = (await storage.claimed(name)).n

    def work(connection: Connection) -> None:
        for seq in range(2, EVENTS + 2):
            connection.execute("INSERT INTO events (n, seq, data) VALUES (?, ?, ?)", (n, seq, DATA))
        connection.execute("UPDATE invocations SET status = 'completed', ended_at = 0 WHERE n = ?", (n,))

    await storage.database.write(work)


def main() -> None:
    """SQLite, then PostgreSQL."""
    asyncio.run(measured("sqlite", None))
    with PostgresServer() as server:
        asyncio.run(measured("postgres", server.new_database()))


if __name__ == "__main__":
    main()
