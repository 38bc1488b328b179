"""What a run is compared with: `ChatOpenAI.astream` in a loop, in a process of its own, over the same stub."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from langchain_openai import ChatOpenAI

# About what a run's prompt weighs: a task, six excerpts, notes of earlier phases.
PROMPT_WORDS = 1500


@dataclass(frozen=True)
class Bare:
    """Seconds of the whole, without imports and the first connection, and of each timed token from the stub to here."""

    seconds: float
    lags: list[float]


def bare_loop(base_url: str, *, calls: int, loops: int = 1) -> Bare:
    """`loops` loops at once, each of `calls` calls one after the other."""
    env = {**os.environ, "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": base_url}
    command = [sys.executable, "-m", "benchmarks.bare_loop", str(calls), str(loops)]
    printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return Bare(**json.loads(printed))


async def _loops(calls: int, loops: int) -> Bare:
    model, lags = ChatOpenAI(model="stub"), list[float]()
    await _calls(model, 1, [])
    begun = time.monotonic()
    await asyncio.gather(*(_calls(model, calls, lags) for _ in range(loops)))
    return Bare(time.monotonic() - begun, lags)


async def _calls(model: ChatOpenAI, calls: int, lags: list[float]) -> None:
    prompt = " ".join(f"word{number}" for number in range(PROMPT_WORDS))
    for number in range(calls):
        async for chunk in model.astream(f"{number} {prompt}"):
            text = str(chunk.content)
            if text.startswith(" @"):
                lags.append((time.monotonic_ns() - int(text[2:])) / 1e9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=int)
    parser.add_argument("loops", type=int)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(_loops(arguments.calls, arguments.loops)).__dict__))
