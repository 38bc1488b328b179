"""A server with 100,000 ended runs in its database beside one with none: POST, list, and start to ready.

Ratios are of medians, the full server's ÷ the empty one's; the two are asked in turns.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess

ENDED, PER_THREAD = 100_000, 4
# Both have as many runs as a page shows.
PAGE = 50
PLAN: dict[str, object] = {"phases": 1, "calls_per_phase": 1}


def main(rounds: int = 60, starts: int = 9) -> None:
    """Each round asks both servers for each of these."""
    with server_over_stub(tokens=5, at_once=True) as (full, one, _), server_over_stub(tokens=5, at_once=True) as other:
        empty, two, _ = other
        for server, client in ((full, one), (empty, two)):
            for _ in range(PAGE):
                client.wait_for(client.post("A run", thread_id="t", config=PLAN)["invocation_id"], _completed)
            server.terminate()
        _multiply(full.data_dir / "server.sqlite")
        ready = [(_start(full), _start(empty)) for _ in range(starts)]
        full.start()
        empty.start()
        asks: dict[str, Callable[[ResearchClient], object]] = {
            "list": lambda client: client.request("GET", "/invocations").raise_for_status(),
            "list_of_thread": lambda client: client.request("GET", "/invocations?thread_id=t").raise_for_status(),
            "list_of_status": lambda client: client.request("GET", "/invocations?status=completed").raise_for_status(),
            "list_of_running": lambda client: client.request("GET", "/invocations?status=running").raise_for_status(),
        }
        posts = [(_post(one), _post(two)) for _ in range(rounds)]
        times = {name: [(_ms(ask, one), _ms(ask, two)) for _ in range(rounds)] for name, ask in asks.items()}
    figures = {"start_ms": ready, "post_ms": posts, **{f"{name}_ms": pairs for name, pairs in times.items()}}
    print(
        json.dumps(
            {
                "benchmark": "many_ended",
                "ended": ENDED,
                **{k: v for n, p in figures.items() for k, v in _of(n, p).items()},
            }
        )
    )


def _post(client: ResearchClient) -> float:
    """Milliseconds to the 202; the next one comes when the run is over."""
    answers = list[dict[str, Any]]()
    taken = _ms(lambda c: answers.append(c.post("What is new?", config=PLAN)), client)
    client.wait_for(answers[0]["invocation_id"], _completed)
    return taken


def _completed(record: dict[str, object]) -> bool:
    return record["status"] == "completed"


def _multiply(path: Path) -> None:
    """Copies the one run that is there, with its events and its report."""
    with closing(sqlite3.connect(path)) as connection, connection:
        all_columns = [row[1] for row in connection.execute("PRAGMA table_info(invocations)")]
        kept = [name for name in all_columns if name not in ("n", "id", "thread_id")]
        names = ", ".join(kept)
        connection.executemany(
            f"INSERT INTO invocations (n, id, thread_id, {names}) SELECT ?, ?, ?, {names} FROM invocations WHERE n = 1",
            ((n, f"inv_{n:032x}", f"thread_{n // PER_THREAD}") for n in range(PAGE + 1, ENDED + 1)),
        )
        for table, columns in (("events", "seq, key, data"), ("reports", "markdown")):
            connection.execute(
                f"INSERT INTO {table} (n, {columns})"
                f" SELECT others.n, {columns} FROM invocations AS others, {table} AS one"
                " WHERE others.n > ? AND one.n = 1",
                (PAGE,),
            )


def _start(server: ServerProcess) -> float:
    server.start()
    server.terminate()
    return (server.ready_at - server.started_at) * 1000


def _ms(ask: Callable[[ResearchClient], object], client: ResearchClient) -> float:
    begun = time.monotonic()
    ask(client)
    return (time.monotonic() - begun) * 1000


def _of(name: str, pairs: list[tuple[float, float]]) -> dict[str, float]:
    full, empty = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return {name: round(full, 1), f"{name}_empty": round(empty, 1), f"{name}_ratio": round(full / empty, 2)}


if __name__ == "__main__":
    main()
