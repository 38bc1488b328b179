"""One run over an instant model with 200 readers, 20 of them stalled, beside the same run with one reader.

`ratio` compares the runs' own times, `readers_ratio` until the last reader had everything. `stalled_kb` is how much the
server's memory grew for each stalled reader, which never reads, from the run's middle to behind its end.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from datetime import datetime

from benchmarks.reader import read, stall
from benchmarks.setting import server_over_stub
from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.resources import resident_kb

READERS, STALLED = 200, 20
CALLS, TOKENS = 60, 300


def main(rounds: int = 5) -> None:
    """Each round is a run with one reader and a run with all of them; figures are medians."""
    alone, crowded, alone_read, crowded_read = (list[float]() for _ in range(4))
    with server_over_stub(tokens=TOKENS, at_once=True) as (server, client, _):
        asyncio.run(_run(client, server.url, 1, 0))
        for _round in range(rounds):
            run, last = asyncio.run(_run(client, server.url, 1, 0))
            alone.append(run)
            alone_read.append(last)
            run, last = asyncio.run(_run(client, server.url, READERS - STALLED, STALLED))
            crowded.append(run)
            crowded_read.append(last)
        before = resident_kb(server.pid)
        asyncio.run(_run(client, server.url, 1, STALLED))
        grown = resident_kb(server.pid) - before
    print(
        json.dumps(
            {
                "benchmark": "crowd",
                "rounds": rounds,
                "readers": READERS,
                "stalled": STALLED,
                "run_alone_sec": round(statistics.median(alone), 2),
                "run_sec": round(statistics.median(crowded), 2),
                "ratio": round(statistics.median(crowded) / statistics.median(alone), 3),
                "readers_ratio": round(statistics.median(crowded_read) / statistics.median(alone_read), 3),
                "stalled_kb": round(grown / STALLED, 1),
            }
        )
    )


async def _run(client: ResearchClient, url: str, readers: int, stalled: int) -> tuple[float, float]:
    """Seconds of the run by its record, and until the last reader had its end."""
    invocation = client.post("How many can read it?", config={"intra_phase_cooldown_sec": 0})["invocation_id"]
    stuck = [await stall(url, invocation) for _ in range(stalled)]
    readings = await asyncio.gather(*(read(url, invocation) for _ in range(readers)))
    assert all(reading.tokens == CALLS * TOKENS for reading in readings)
    for writer in stuck:
        writer.close()
    record = client.record(invocation)
    return _seconds(record), max(reading.ended_at for reading in readings) - min(r.begun_at for r in readings)


def _seconds(record: Json) -> float:
    started, ended = (datetime.fromisoformat(record[name]) for name in ("started_at", "ended_at"))
    return (ended - started).total_seconds()


if __name__ == "__main__":
    main()
