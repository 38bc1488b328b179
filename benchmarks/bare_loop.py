"""What everything is compared with: `ChatOpenAI.astream` in a loop, in a process of its own, over the same stub."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time

from langchain_openai import ChatOpenAI

# About what a run's prompt weighs: a task, six excerpts, notes of earlier phases.
PROMPT_WORDS = 1500


def bare_seconds(base_url: str, calls: int) -> float:
    """Seconds that `calls` calls take one after the other; imports and the first connection are not counted."""
    env = {**os.environ, "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": base_url}
    command = [sys.executable, "-m", "benchmarks.bare_loop", str(calls)]
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


async def _loop(calls: int) -> float:
    model = ChatOpenAI(model="stub")
    prompt = " ".join(f"word{number}" for number in range(PROMPT_WORDS))
    await _call(model, prompt)
    begun = time.monotonic()
    for number in range(calls):
        await _call(model, f"{number} {prompt}")
    return time.monotonic() - begun


async def _call(model: ChatOpenAI, prompt: str) -> None:
    async for _chunk in model.astream(prompt):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=int)
    print(asyncio.run(_loop(parser.parse_args().calls)))
