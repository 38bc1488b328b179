"""Reading an ended run of 18,000 tokens from its start, as it was written and with an event for each token.

Beside it, `sqlite_tokens_a_sec`: the rows of the same stream read by sqlite3 alone, in this process.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.reader import Reading, read
from benchmarks.setting import server_over_stub
from graph.events import Event
from server.event_rows import insert
from server.invocation import find
from server.sql import Connection
from server.sqlite import SqliteDatabase

CALLS, TOKENS = 60, 300


def main(rounds: int = 15) -> None:
    """Figures are medians of `rounds` readings, one after the other."""
    with server_over_stub(tokens=TOKENS, at_once=True) as (server, client, _):
        invocation = client.post("How fast is a replay?")["invocation_id"]
        asyncio.run(read(server.url, invocation))
        joined = [asyncio.run(read(server.url, invocation)) for _ in range(rounds)]
        server.terminate()
        rows = server.data_dir / "server.sqlite"
        _split_up(rows, invocation)
        server.start()
        asyncio.run(read(server.url, invocation))
        single = [asyncio.run(read(server.url, invocation)) for _ in range(rounds)]
        alone = statistics.median(_seconds(lambda: _read_rows(rows, invocation)) for _ in range(rounds))
    print(
        json.dumps(
            {
                "benchmark": "replay",
                "rounds": rounds,
                "tokens": CALLS * TOKENS,
                **_of("joined", joined),
                **_of("single", single),
                "sqlite_tokens_a_sec": round(CALLS * TOKENS / alone),
            }
        )
    )


def _of(name: str, readings: list[Reading]) -> dict[str, float]:
    assert all(reading.tokens == CALLS * TOKENS for reading in readings)
    seconds = statistics.median(reading.seconds for reading in readings)
    first = statistics.median(reading.first_sec for reading in readings)
    return {
        f"{name}_events": readings[0].events,
        f"{name}_tokens_a_sec": round(CALLS * TOKENS / seconds),
        f"{name}_first_event_ms": round(first * 1000, 1),
    }


def _split_up(path: Path, invocation_id: str) -> None:
    """Writes the run's stream anew with an event a token, as a slow model's run has it."""
    database = SqliteDatabase(path)

    def work(connection: Connection) -> None:
        invocation = find(connection, "WHERE id = ?", invocation_id)
        assert invocation is not None
        n = invocation.n
        rows = connection.execute("SELECT data FROM events WHERE n = ? ORDER BY seq", (n,)).fetchall()
        events = [event for row in rows for event in _single(json.loads(row[0]))]
        connection.execute("DELETE FROM events WHERE n = ?", (n,))
        insert(connection, invocation, 0, events)

    database.write_now(work)
    database.close()


def _single(event: Event) -> list[Event]:
    del event["sequence_number"]
    if event["type"] != "token":
        return [event]
    return [{**event, "content": f" {word}"} for word in event["content"].split()]


def _read_rows(path: Path, invocation_id: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        n = connection.execute("SELECT n FROM invocations WHERE id = ?", (invocation_id,)).fetchone()[0]
        connection.execute("SELECT seq, data FROM events WHERE n = ? ORDER BY seq", (n,)).fetchall()


def _seconds(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
