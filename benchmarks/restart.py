"""Start of a process to ready, and kill -9 to the first new event; beside them, what importing its libraries takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from benchmarks.setting import server_over_stub
from tests.acceptance.client import of_type

LIBRARIES = "import fastapi, uvicorn, sse_starlette, langgraph.graph, langgraph.checkpoint.sqlite.aio, langchain_openai"


def main(kills: int = 7) -> None:
    """Kills a server `kills` times under a run whose model is slow."""
    ready, first, imports = list[float](), list[float](), list[float]()
    with server_over_stub(delay_ms=20) as (server, client, _):
        invocation = client.post("How fast does it come back?")["invocation_id"]
        position = 0
        for _ in range(kills):
            position = client.read_stream(invocation, position, until=of_type("token")).last_id
            server.kill()
            server.start()
            ready.append(server.ready_at - server.started_at)
            # The server was ready before this reader asked: an upper bound, by the reader's polling.
            position = client.read_stream(invocation, position, until=lambda frame: frame.id is not None).last_id
            first.append(time.monotonic() - server.started_at)
            imports.append(_import_time())
    figures = {**_of("ready_sec", ready), **_of("first_event_sec", first), **_of("imports_sec", imports)}
    print(json.dumps({"benchmark": "restart", "kills": kills, **figures}))


def _import_time() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
    return time.monotonic() - begun


def _of(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_median": round(statistics.median(values), 3), f"{name}_worst": round(max(values), 3)}


if __name__ == "__main__":
    main()
