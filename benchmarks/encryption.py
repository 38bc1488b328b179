"""What ENCRYPTION_KEY costs: the same runs on two servers, one with a key, turn by turn, and on their disks.

`one_run_ratio`, `ten_runs_ratio` and `replay_ratio` are times with the key ÷ without, over an instant model.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import time

from benchmarks.reader import read
from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess

CALLS, TOKENS = 60, 300


def main(rounds: int = 7) -> None:
    """Each round measures both servers, the one that goes first by turns; figures are medians."""
    key = base64.b64encode(os.urandom(32)).decode()
    times: dict[str, list[float]] = {name: [] for name in ("one", "ten", "replay", "one_key", "ten_key", "replay_key")}
    with (
        server_over_stub(tokens=TOKENS, at_once=True) as (plain, plain_client, _),
        server_over_stub(tokens=TOKENS, at_once=True, ENCRYPTION_KEY=key) as (sealed, sealed_client, _),
    ):
        sides = [(plain_client, plain.url, ""), (sealed_client, sealed.url, "_key")]
        for client, url, _ in sides:
            _runs(client, url, 1)
        for round_ in range(rounds):
            for client, url, suffix in sides[:: 1 if round_ % 2 else -1]:
                one, replay = _runs(client, url, 1)
                times["one" + suffix].append(one)
                times["replay" + suffix].append(replay)
                times["ten" + suffix].append(_runs(client, url, 10)[0])
        bytes_plain, bytes_sealed = _bytes(plain), _bytes(sealed)
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(
        json.dumps(
            {
                "benchmark": "encryption",
                "rounds": rounds,
                "one_run_sec": round(middle["one"], 3),
                "one_run_key_sec": round(middle["one_key"], 3),
                **{
                    f"{name}_ratio": round(middle[f"{short}_key"] / middle[short], 3)
                    for name, short in (("one_run", "one"), ("ten_runs", "ten"), ("replay", "replay"))
                },
                "disk_ratio": round(bytes_sealed / bytes_plain, 3),
            }
        )
    )


def _runs(client: ResearchClient, url: str, count: int) -> tuple[float, float]:
    """Seconds from the first POST to the last reader's end, and those of reading the first stream again."""

    async def all_read() -> tuple[float, float]:
        begun = time.monotonic()
        started = [client.post(f"How fast is run {number}?")["invocation_id"] for number in range(count)]
        for reading in await asyncio.gather(*(read(url, invocation) for invocation in started)):
            assert reading.tokens == CALLS * TOKENS, reading.tokens
        ran = time.monotonic()
        await read(url, started[0])
        return ran - begun, time.monotonic() - ran

    return asyncio.run(all_read())


def _bytes(server: ServerProcess) -> int:
    """What its databases hold once all is in their files."""
    server.terminate()
    return sum(file.stat().st_size for file in server.data_dir.glob("*.sqlite"))


if __name__ == "__main__":
    main()
