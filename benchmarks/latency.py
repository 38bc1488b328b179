"""60 runs at 50 tokens/s, a reader each: how late a token comes, and how much longer a run takes than alone.

Lags are milliseconds from the stub's sending of a token to its reader; `bare` is as many bare loops at once in one
process, which read the stub themselves. `slowed` is the slowest run's time ÷ a run's that has the server for itself.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence

from benchmarks.bare_loop import bare_loop
from benchmarks.reader import Reading, read
from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient

RUNS, CALLS, TOKENS, DELAY_MS = 60, 8, 300, 20
PLAN: dict[str, object] = {"phases": 2, "calls_per_phase": 4}


def main() -> None:
    """Measures a run alone, all of them, then the bare loops."""
    with server_over_stub(tokens=TOKENS, delay_ms=DELAY_MS, timed=True) as (server, client, stub):
        [alone] = asyncio.run(_runs(client, server.url, 1))
        runs = asyncio.run(_runs(client, server.url, RUNS))
        bare = bare_loop(stub.base_url, calls=CALLS, loops=RUNS)
    assert all(reading.tokens == CALLS * TOKENS for reading in runs)
    lags = [lag for reading in runs for lag in reading.lags]
    print(
        json.dumps(
            {
                "benchmark": "latency",
                "runs": RUNS,
                "tokens_a_sec_a_run": 1000 / DELAY_MS,
                **_of("lag_ms", lags),
                **_of("alone_lag_ms", alone.lags),
                **_of("bare_lag_ms", bare.lags),
                "run_sec": round(statistics.median(reading.seconds for reading in runs), 2),
                "alone_sec": round(alone.seconds, 2),
                "bare_sec": round(bare.seconds, 2),
                "slowed": round(max(reading.seconds for reading in runs) / alone.seconds, 3),
            }
        )
    )


async def _runs(client: ResearchClient, url: str, count: int) -> list[Reading]:
    async def one(number: int) -> Reading:
        posted = await asyncio.to_thread(client.post, f"How late is run {number}?", config=PLAN)
        return await read(url, posted["invocation_id"])

    return await asyncio.gather(*(one(number) for number in range(count)))


def _of(name: str, seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {f"{name}_p50": round(cuts[49] * 1000, 1), f"{name}_p99": round(cuts[98] * 1000, 1)}


if __name__ == "__main__":
    main()
