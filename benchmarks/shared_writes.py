"""What one PostgreSQL takes of the event log alone: hosts that write without a model or a graph, as fast as they can.

`python -m benchmarks.shared_writes` starts a server of its own, with `fsync` on. Each turn writes its next event when
the last one is on disk, as a busy run does. One line of JSON for each number of hosts and turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.storage import opened
from tests.postgres_server import PostgresServer

ROUNDS = ((1, 1), (1, 16), (1, 64), (1, 256), (2, 64), (4, 64))
SECONDS = 5.0
TOKEN = "a piece of text of some twenty-five milliseconds "


def main() -> None:
    """Each host is a process of its own over a new database."""
    with PostgresServer() as server:
        for hosts, turns in ROUNDS:
            url = server.new_database()
            command = [sys.executable, "-m", "benchmarks.shared_writes", url, str(turns)]
            running = [
                subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(hosts)
            ]
            told = [json.loads(process.communicate()[0]) for process in running]
            print(
                json.dumps(
                    {
                        "benchmark": "shared_writes",
                        "hosts": hosts,
                        "turns_a_host": turns,
                        "events_a_sec": round(sum(one["events"] for one in told) / SECONDS),
                        "median_ms": round(statistics.median(one["median_ms"] for one in told), 1),
                        "worst_ms": round(max(one["worst_ms"] for one in told), 1),
                    }
                ),
                flush=True,
            )


async def write(url: str, turns: int, host: int) -> None:
    """One host: counts what it got onto the disk in the time."""
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder), url, recover=False) as storage:
            claims = [await storage.claimed_alone(f"host-{host}-{number}") for number in range(turns)]
            until = time.monotonic() + SECONDS

            async def one(index: int) -> None:
                writer = storage.log.writer(claims[index])
                while (began := time.monotonic()) < until:
                    writer.put({"type": "token", "content": TOKEN, "phase": 1, "index": 1})
                    await writer.flushed()
                    waits.append(time.monotonic() - began)

            await asyncio.gather(*map(one, range(turns)))
    print(
        json.dumps(
            {
                "events": len(waits),
                "median_ms": 1000 * statistics.median(waits),
                "worst_ms": 1000 * max(waits),
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
