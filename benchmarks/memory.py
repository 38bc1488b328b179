"""What the server keeps of runs that have ended and that nobody reads: memory and file handles.

A run here is 2 phases of 2 calls of 300 tokens.
"""

from __future__ import annotations

import json

from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient
from tests.acceptance.resources import open_files, resident_kb

PLAN: dict[str, object] = {"phases": 2, "calls_per_phase": 2}


def main(warm: int = 100, runs: int = 300) -> None:
    """Measures behind `warm` runs, and again behind `runs` more."""
    with server_over_stub(tokens=300, at_once=True) as (server, client, _):
        _run_all(client, warm)
        memory, files = resident_kb(server.pid), open_files(server.pid)
        _run_all(client, runs)
        kept, left = (resident_kb(server.pid) - memory) / runs, open_files(server.pid) - files
    figures = {"runs": runs, "kept_kb_a_run": round(kept, 1), "file_handles": left, "rss_kb": memory}
    print(json.dumps({"benchmark": "memory", **figures}))


def _run_all(client: ResearchClient, count: int) -> None:
    for start in range(0, count, 20):
        begun = [client.post(f"Run {start + number}", config=PLAN)["invocation_id"] for number in range(20)]
        for invocation in begun:
            client.wait_for(invocation, lambda record: record["status"] == "completed")


if __name__ == "__main__":
    main()
