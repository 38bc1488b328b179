"""The checkpoint file of a run of 240 phases ÷ that of 60 phases, two calls of 300 tokens each: 4 is linear."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.setting import server_over_stub

CALLS = 2
SHORT, LONG = 60, 240


def main() -> None:
    """Runs the two in folders of their own."""
    short, long = _bytes(SHORT), _bytes(LONG)
    print(
        json.dumps(
            {
                "benchmark": "checkpoints",
                "phases": [SHORT, LONG],
                "bytes": [short, long],
                "ratio": round(long / short, 2),
                "kb_a_phase": round(long / LONG / 1000, 1),
            }
        )
    )


def _bytes(phases: int) -> int:
    with server_over_stub(tokens=300, at_once=True, NUM_PHASES=phases, CALLS_PER_PHASE=CALLS) as (server, client, _):
        invocation = client.post("How large does it grow?")["invocation_id"]
        client.wait_for(invocation, lambda record: record["status"] == "completed", timeout=120)
        server.terminate()  # the write-ahead log goes into the file
        return Path(server.data_dir / "checkpoints.sqlite").stat().st_size


if __name__ == "__main__":
    main()
