"""A POST on an idle server to its run's first event: in one request, and by POST and GET; beside it, two bare GETs."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.setting import server_over_stub
from tests.acceptance.client import ResearchClient

PLAN: dict[str, object] = {"phases": 1, "calls_per_phase": 1}


def main(rounds: int = 100) -> None:
    """Each round starts a run in all of these ways, one after the other, on one kept connection."""
    bare, streamed, followed = list[float](), list[float](), list[float]()
    with server_over_stub(tokens=5, at_once=True) as (_, client, _):
        for number in range(rounds + 5):
            bare.append(_ms(lambda: (client.request("GET", "/liveness"), client.request("GET", "/liveness"))))
            for way, times in ((_post_and_stream, streamed), (_post_and_get, followed)):
                thread = f"thread-{number}-{way.__name__}"
                times.append(_ms(partial(way, client, thread)))
                while client.request("GET", f"/threads/{thread}").json()["status"] != "idle":
                    time.sleep(0.005)
            if number < 5:  # the first ones load the graph
                for times in (bare, streamed, followed):
                    times.clear()
    figures = {**_of("streamed", streamed), **_of("followed", followed), **_of("bare_requests", bare)}
    print(json.dumps({"benchmark": "first_event", "rounds": rounds, **figures}))


def _post_and_stream(client: ResearchClient, thread: str) -> None:
    client.post_stream("How soon?", thread_id=thread, until=lambda frame: frame.id is not None, config=PLAN)


def _post_and_get(client: ResearchClient, thread: str) -> None:
    invocation = client.post("How soon?", thread_id=thread, config=PLAN)["invocation_id"]
    client.read_stream(invocation, until=lambda frame: frame.id is not None)


def _ms(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return (time.monotonic() - begun) * 1000


def _of(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_ms_median": round(statistics.median(values), 1), f"{name}_ms_worst": round(max(values), 1)}


if __name__ == "__main__":
    main()
