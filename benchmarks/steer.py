"""A steer in a cooldown to the new turn's first event; beside it, a first POST on an idle server to its first event."""

from __future__ import annotations

import json
import statistics
import time

from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient, of_type


def main(rounds: int = 30) -> None:
    """Steers `rounds` times, each in a cooldown of a minute."""
    steered, idle = list[float](), list[float]()
    config: dict[str, object] = {
        "phases": 2,
        "calls_per_phase": 2,
        "intra_phase_cooldown_sec": 60,
        "inter_phase_cooldown_sec": 60,
    }
    with server_over_stub(tokens=5) as (_, client, _):
        for number in range(rounds):
            first = _begin(client, f"thread-{number}", config, idle)
            client.read_stream(first, until=of_type("cooldown"))
            second = _begin(client, f"thread-{number}", config, steered)
            client.cancel(second, mode="now")
    print(
        json.dumps(
            {
                "benchmark": "steer",
                "rounds": rounds,
                "steer_in_cooldown_ms_median": _ms(statistics.median(steered)),
                "steer_in_cooldown_ms_worst": _ms(max(steered)),
                "first_post_ms_median": _ms(statistics.median(idle[1:])),
                "first_post_ms_worst": _ms(max(idle[1:])),
            }
        )
    )


def _begin(client: ResearchClient, thread: str, config: dict[str, object], times: list[float]) -> str:
    begun = time.monotonic()
    invocation: str = client.post("What now?", thread_id=thread, config=config)["invocation_id"]
    client.read_stream(invocation, until=lambda frame: frame.id is not None)
    times.append(time.monotonic() - begun)
    return invocation


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    main()
