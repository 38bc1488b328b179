"""Tokens a second of durable runs over an instant model, beside the bare loop: one run, and ten at once, a reader each.

`ratio` is delivered tokens/s of one run ÷ the bare loop's; `ten_runs` their time ÷ ten times the bare loop's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from benchmarks.bare_loop import bare_loop
from benchmarks.reader import read
from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient

CALLS, TOKENS = 60, 300


def main(rounds: int = 5) -> None:
    """Each round measures the bare loop, one run, and ten runs at once; figures are medians."""
    bare, one, ten = list[float](), list[float](), list[float]()
    with server_over_stub(tokens=TOKENS, at_once=True) as (server, client, stub):
        _runs(client, server.url, 1)
        for _ in range(rounds):
            bare.append(bare_loop(stub.base_url, calls=CALLS).seconds)
            one.append(_runs(client, server.url, 1))
            ten.append(_runs(client, server.url, 10))
    base, single, tenfold = (statistics.median(values) for values in (bare, one, ten))
    print(
        json.dumps(
            {
                "benchmark": "throughput",
                "rounds": rounds,
                "tokens_a_run": CALLS * TOKENS,
                "bare_tokens_a_sec": round(CALLS * TOKENS / base),
                "run_tokens_a_sec": round(CALLS * TOKENS / single),
                "ratio": round(base / single, 3),
                "ratio_worst": round(min(b / o for b, o in zip(bare, one, strict=True)), 3),
                "ten_runs_sec": round(tenfold, 2),
                "ten_runs_ratio": round(tenfold / (10 * base), 3),
            }
        )
    )


def _runs(client: ResearchClient, url: str, count: int) -> float:
    """Seconds from the first POST to the last reader's end."""

    async def all_read() -> None:
        started = [client.post(f"How fast is run {number}?")["invocation_id"] for number in range(count)]
        for reading in await asyncio.gather(*(read(url, invocation) for invocation in started)):
            assert reading.tokens == CALLS * TOKENS, reading.tokens

    begun = time.monotonic()
    asyncio.run(all_read())
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
