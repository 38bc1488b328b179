"""A randomized soak: several runs at once over the model stub, a server that is killed in every way, at random.

`python -m tests.acceptance.torture --kills 200 --seed 1` prints one line of JSON; exit code 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from graph.faults import POINTS
from tests.acceptance.client import ResearchClient
from tests.acceptance.repeats import Repeats, check_repeats
from tests.acceptance.server_process import Launch, ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub
from tests.postgres_server import PostgresServer

RUNS_AT_ONCE = 4
GRACE_SEC = 0.3
# Retention removes what the readers are to be compared with.
FAULTS = [point for point in POINTS if not point.startswith("retention.")]


@dataclass
class Figures:
    """What was survived. `repeated_calls` is the most that one crash repeated of one run; times are seconds."""

    seed: int
    kills: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    events: int = 0
    model_calls: int = 0
    repeated_calls: int = 0
    worst_first_event_sec: float = 0.0
    worst_sigterm_sec: float = 0.0
    seconds: float = 0.0
    verdict: str = "kept"


class Torture:
    """One soak. The same seed draws the same kills; what they hit depends on the machine."""

    def __init__(
        self, kills: int, seed: int, folder: Path, *, launch: Launch | None = None, database_url: str | None = None
    ) -> None:
        self._chance, self._kills = random.Random(seed), kills
        self._figures = Figures(seed)
        self._stack = ExitStack()
        self._stub = self._stack.enter_context(ModelStub(tokens=20, delay_ms=3))
        env = {
            "NUM_PHASES": "3",
            "CALLS_PER_PHASE": "2",
            "INTRA_PHASE_COOLDOWN_SEC": "0.05",
            "INTER_PHASE_COOLDOWN_SEC": "0.1",
            "SHUTDOWN_GRACE_SEC": str(GRACE_SEC),
            "RESEARCH_MODEL": "openai:stub",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": self._stub.base_url,
            **({"DATABASE_URL": database_url} if database_url else {}),
        }
        self._server = ServerProcess(folder / "data", env, launch=launch)
        self._client = self._stack.enter_context(ResearchClient(self._server.url))
        self._readers: dict[str, SteadyReader] = {}
        self._posted: list[str] = []
        self._lives: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.kill()
        self._stack.close()

    def run(self) -> Figures:
        """Kills, then lets everything come to its end and checks it; what was broken is the verdict."""
        began = time.monotonic()
        try:
            while self._figures.kills < self._kills:
                self._live()
            self._finish()
        except AssertionError as error:
            self._figures.verdict = f"broken: {error}"
        self._figures.seconds = round(time.monotonic() - began, 1)
        return self._figures

    def _live(self) -> None:
        """One life of the server, from its start to a death."""
        fault = f"{self._chance.choice(FAULTS)}:{self._chance.randint(1, 4)}" if self._chance.random() < 0.25 else None
        self._start(fault)
        hasty = self._chance.random() < 0.2
        if hasty:
            time.sleep(self._chance.uniform(0, 1))
        elif self._ready():
            self._post()
            self._first_event()
            time.sleep(self._chance.uniform(0, 0.6))
        kind = self._die(fault, hasty=hasty)
        self._figures.kills += 1
        self._figures.by_kind[kind] = self._figures.by_kind.get(kind, 0) + 1

    def _start(self, fault: str | None) -> None:
        self._server.set_env(FAULT_POINT=fault)
        self._server.spawn()
        self._lives.append(self._server.started_at)

    def _die(self, fault: str | None, *, hasty: bool) -> str:
        if fault and _within(1, lambda: self._server.ended):
            code = self._server.wait_for_exit()
            assert code == 137, f"the server ended with {code} at {fault}:\n{self._server.log_tail()}"
            return fault.partition(":")[0]
        # A process that has not come to its handlers yet ends by SIGTERM as by SIGKILL.
        if hasty or self._chance.random() < 0.7:
            self._server.kill()
            return "SIGKILL"
        began = time.monotonic()
        self._server.signal(signal.SIGTERM)
        code = self._server.wait_for_exit()
        took = time.monotonic() - began
        assert code in (0, 137 if fault else 0), f"SIGTERM ended in {code}:\n{self._server.log_tail()}"
        self._figures.worst_sigterm_sec = max(self._figures.worst_sigterm_sec, round(took, 2))
        return "SIGTERM"

    def _ready(self) -> bool:
        """Whether it came to be ready, and did not die of its fault before."""
        try:
            self._server.wait_until_ready()
        except AssertionError:
            if self._server.ended:
                return False
            raise
        return True

    def _post(self) -> None:
        """Tops the runs up. A name makes it safe to ask again for one whose 202 was lost."""
        under_way = [reader for reader in self._readers.values() if reader.reading]
        names = [name for name in self._posted if name not in self._readers]
        for _ in range(RUNS_AT_ONCE - len(under_way) - len(names)):
            self._posted.append(f"run-{len(self._posted)}")
            names.append(self._posted[-1])
        for name in names:
            if self._accepted(name) and name not in self._readers:
                self._readers[name] = self._stack.enter_context(SteadyReader(self._server, name))

    def _accepted(self, name: str) -> bool:
        # Three runs share a thread, so that one in two steers another or waits for it.
        thread = f"thread-{int(name.removeprefix('run-')) // 3}"
        strategy = self._chance.choice(("enqueue", "enqueue", "interrupt", "rollback"))
        body = {"message": name, "thread_id": thread, "multitask_strategy": strategy}
        try:
            answer = self._client.request(
                "POST", "/invocations", json=body, headers={"x-agent-invocation-id": name}, timeout=10
            )
        except httpx2.TransportError:
            return False
        assert answer.status_code in (200, 202), f"{name}: {answer.status_code} {answer.text}"
        return True

    def _first_event(self) -> None:
        """Waits for an event that somebody sees, and notes how long after the start it came."""
        since = self._lives[-1]
        waiting = any(reader.reading for reader in self._readers.values())

        def seen() -> list[float]:
            return [at for reader in self._readers.values() for at in reader.seen_at[-200:] if at > since]

        if waiting and _within(20, lambda: self._server.ended or bool(seen())) and (moments := seen()):
            took = round(min(moments) - since, 2)
            self._figures.worst_first_event_sec = max(self._figures.worst_first_event_sec, took)

    def _finish(self) -> None:
        self._start(None)
        self._server.wait_until_ready()
        self._post()
        for reader in self._readers.values():
            whole = self._checked(reader)
            self._figures.runs += 1
            self._figures.events += whole
        self._count_calls()

    def _checked(self, reader: SteadyReader) -> int:
        reader.wait(120)
        whole = check_invocation(self._client, reader.invocation_id)
        reader.check(whole)
        check_repeats(whole)
        return whole.last_id

    def _count_calls(self) -> None:
        """E3 by what the model saw: each life of the server repeats at most one call of a run."""
        calls = self._stub.calls()
        repeats = Repeats(lambda call: call.last_user.partition("</topic>")[0])
        repeats.take(calls, self._lives)
        self._figures.model_calls = len(calls)
        self._figures.repeated_calls, _ = repeats.most()
        assert self._figures.repeated_calls <= 1, (
            f"a crash repeated {self._figures.repeated_calls} model calls of a run"
        )


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the databases and the log, left behind")
    parser.add_argument("--postgres", action="store_true", help="over a PostgreSQL server of its own, not SQLite")
    asked = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(PostgresServer()).new_database() if asked.postgres else None
        folder = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        figures = stack.enter_context(Torture(asked.kills, asked.seed, folder, database_url=url)).run()
    print(json.dumps(asdict(figures)))
    return 0 if figures.verdict == "kept" else 1


if __name__ == "__main__":
    sys.exit(main())
