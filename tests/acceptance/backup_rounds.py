"""Backups of a busy server at random instants, each restored and run to its end.

While backups are made, turns start, steer, are cancelled and expire, and threads are erased.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2

from server.backup import back_up
from server.restore import restore
from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.server_process import Launch, ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.acceptance.warm_start import WarmStart
from tests.openai_stub.process import ModelStub

THREADS = 4
UNFINISHED = ("queued", "running")
ENV = {
    "NUM_PHASES": "2",
    "CALLS_PER_PHASE": "2",
    "INTRA_PHASE_COOLDOWN_SEC": "0.02",
    "INTER_PHASE_COOLDOWN_SEC": "0.05",
    "RESEARCH_MODEL": "openai:stub",
    "OPENAI_API_KEY": "none",
}


class Traffic:
    """A thread of the test that keeps a server busy until the context ends, in an order that `chance` gives."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._client = ResearchClient(url)
        self._chance = chance
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: dict[str, int] = {}

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(self._chance.uniform(0, 0.1)):
            number += 1
            thread = f"thread-{self._chance.randrange(THREADS)}"
            self._do(self._chance.choice(("start", "start", "steer", "roll back", "cancel", "erase")), thread, number)

    def _do(self, what: str, thread: str, number: int) -> None:
        if what == "erase":
            answer = self._client.request("DELETE", f"/threads/{thread}")
        elif what == "cancel":
            listed = self._client.request("GET", "/invocations", params={"thread_id": thread, "limit": 1}).json()
            newest = next((record["invocation_id"] for record in listed["invocations"]), "none")
            answer = self._client.request("POST", f"/invocations/{newest}/cancel", json={})
        else:
            strategy = {"start": "enqueue", "steer": "interrupt", "roll back": "rollback"}[what]
            body = {"message": f"Topic {number}", "thread_id": thread, "multitask_strategy": strategy}
            answer = self._client.request("POST", "/invocations", json=body)
        assert answer.status_code in (200, 202, 204, 404, 409, 429), f"{what}: {answer.status_code} {answer.text}"
        key = f"{what} {answer.status_code}"
        self.answers[key] = self.answers.get(key, 0) + 1


def backup_rounds(folder: Path, stub: ModelStub, *, count: int, seed: int, launch: Launch | None) -> Json:
    """Makes `count` backups, restores each and lets it come to its end: figures, or AssertionError."""
    chance = random.Random(seed)
    # 80 ms a call, so that most instants lie within one.
    stub.control(tokens=20, delay_ms=4)
    env = ENV | {"OPENAI_BASE_URL": stub.base_url}
    figures: dict[str, Any] = {"backups": count, "finished": 0, "recovered": 0, "repeated_calls": 0}
    busy = ServerProcess(folder / "data", {**env, "EVENT_TTL_SEC": "1"}, launch=launch)
    with busy, Traffic(busy.url, random.Random(seed + 1)) as traffic:
        for number in range(count):
            time.sleep(chance.uniform(0.05, 0.5))
            back_up(busy.data_dir, folder / f"backup-{number}")
    figures["answers"] = traffic.answers
    for number in range(count):
        restore(folder / f"restored-{number}", folder / f"backup-{number}")
        with ServerProcess(folder / f"restored-{number}", env, launch=launch) as restored:
            _finish(restored, figures)
    return figures


def _finish(server: ServerProcess, figures: dict[str, Any]) -> None:
    with ResearchClient(server.url) as client:
        for record in reversed(client.request("GET", "/invocations", params={"limit": 200}).json()["invocations"]):
            client.wait_for(record["invocation_id"], lambda record: record["status"] not in UNFINISHED)
            if not _readable(client, record["invocation_id"]):
                continue
            whole = check_invocation(client, record["invocation_id"])
            assert client.request("GET", f"/threads/{record['thread_id']}").status_code == 200
            figures["finished"] += 1
            figures["recovered"] += any(event["type"] == "recovered" for event in events(whole))
            repeats = [event for event in events(whole) if event["type"] == "subcall_start" and event["attempt"] > 1]
            assert len(repeats) <= 1, f"{record['invocation_id']}: a restored run repeated {len(repeats)} model calls"
            figures["repeated_calls"] += len(repeats)
    assert "Traceback" not in server.log_text(), server.log_tail()


def _readable(client: ResearchClient, invocation_id: str) -> bool:
    """Whether its events have not expired, be it in the middle of the backup."""
    answer = client.request("GET", f"/invocations/{invocation_id}", params={"last_event_id": 100_000})
    return answer.status_code != httpx2.codes.GONE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backups-")))
        launch = stack.enter_context(WarmStart()).launch
        stub = stack.enter_context(ModelStub())
        print(json.dumps(backup_rounds(folder, stub, count=asked.count, seed=asked.seed, launch=launch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
