"""The soak: a stub of a model that fails, a server that dies, users, and somebody who looks at the gauges."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.acceptance.client import Json
from tests.acceptance.repeats import Repeats
from tests.acceptance.server_process import Launch, ServerProcess
from tests.openai_stub.model import Call
from tests.openai_stub.process import ModelStub
from tests.soak import gauges
from tests.soak.book import Book
from tests.soak.drift import Drift, quantiles
from tests.soak.lives import Lives, plan
from tests.soak.user import User, topic_of
from tests.soak.weather import Weather

USERS = 4
TTL_SEC = 30
LOOK_EACH_SEC = 5
# Behind this nobody's connection is kept alive.
QUIET_SEC = 8.0
# What an idle server has open: where it listens, and its own wakers.
IDLE_SOCKETS = 12
ENV = {
    "NUM_PHASES": "3",
    "CALLS_PER_PHASE": "2",
    "INTRA_PHASE_COOLDOWN_SEC": "0.05",
    "INTER_PHASE_COOLDOWN_SEC": "0.1",
    "SHUTDOWN_GRACE_SEC": "1",
    "EVENT_TTL_SEC": str(TTL_SEC),
    "MODEL_ATTEMPTS": "3",
    "MODEL_IDLE_TIMEOUT_SEC": "5",
    "RESEARCH_MODEL": "openai:stub",
    "OPENAI_API_KEY": "none",
    "LOG_LEVEL": "warning",
}


def _thread_of(call: Call) -> str:
    """By the topic, which holds the turn's name, which begins with its thread's."""
    topic = call.last_user.partition("</topic>")[0].removeprefix("<topic>")
    return topic.removeprefix(topic_of("")).rpartition(".")[0]


class Soak:
    """One soak of so many minutes. The same seed draws the same plan; what it meets depends on the machine."""

    def __init__(
        self,
        minutes: float,
        seed: int,
        folder: Path,
        *,
        command: Sequence[str] = (),
        launch: Launch | None = None,
        quiet_sec: float = QUIET_SEC,
    ) -> None:
        self._minutes, self._seed, self._quiet_sec = minutes, seed, quiet_sec
        self._chance = random.Random(seed)
        self._stack = ExitStack()
        self._book = Book()
        self._stub = self._stack.enter_context(ModelStub(tokens=20, delay_ms=10, timed=True))
        env = ENV | {"OPENAI_BASE_URL": self._stub.base_url}
        self._lives = Lives(ServerProcess(folder / "data", env, command=tuple(command), launch=launch), self._chance)
        self._weather = Weather(self._stub, self._book, self._chance)
        self._repeats = Repeats(_thread_of)
        self._http = self._stack.enter_context(httpx2.Client(trust_env=False, timeout=30))
        self._users = [User(f"soak{n}", str(seed), self._lives, self._book, TTL_SEC) for n in range(USERS)]
        self._samples: list[gauges.Sample] = []
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for user in self._users:
            user.stopped.set()
        self._lives.server.kill()
        self._stack.close()

    def run(self) -> Json:
        """All figures; `verdict` says what was broken or drifted."""
        try:
            for number, seconds in enumerate(plan(self._minutes * 60, self._chance)):
                if self._book.broken is None:
                    self._live(seconds, first=number == 0)
            self._finish()
        except (AssertionError, httpx2.HTTPError) as error:
            self._book.note_broken(f"{type(error).__name__}: {error}")
        return self._figures()

    def _live(self, seconds: float, *, first: bool) -> None:
        """One life of the server, from its start on; the death of the one before comes first."""
        if not first:
            self._lives.end()
        self._lives.begin()
        for user in self._users if first else ():
            user.start()
        for second in range(1, round(seconds) + 1):
            if self._book.broken is None:
                self._weather.pass_on()
                time.sleep(1)
                if second % LOOK_EACH_SEC == 0:
                    self._look()

    def _look(self) -> None:
        sample = gauges.take(self._lives.server, self._http, len(self._lives.started), self._book.ended)
        self._samples.append(sample)
        self._count_calls()
        told = {"minute": round((sample.at - self._began) / 60, 1), "life": sample.life, "turns": sample.turns}
        held = {"rss_mb": sample.rss_kb // 1024, "handles": sample.handles, "sockets": sample.sockets}
        more = {"threads": sample.threads, "disk_mb": round(sample.disk_kb / 1024, 1)}
        print(*(f"{name} {value}" for name, value in (told | held | more).items()), sep="  ", file=sys.stderr)

    def _count_calls(self) -> None:
        """E3 by what the model saw."""
        calls = self._stub.take_calls()
        self._book.count("model calls", len(calls))
        self._repeats.take(calls, self._lives.started)
        most, thread = self._repeats.most(self._book.resumed)
        assert most <= 1, f"E3: a crash repeated {most} model calls of {thread}: {self._repeats.recent(thread)}"

    def _finish(self) -> None:
        """Lets all turns come to their ends, looks at what is left when nobody is there, and ends the server."""
        for user in self._users:
            user.stopped.set()
        for user in self._users:
            user.join(300)
        if self._book.broken is None:
            time.sleep(self._quiet_sec)
            self._look()
            self._lives.terminate()

    def _figures(self) -> Json:
        drifts = [] if self._book.broken else self._drifts()
        drifted = [f"{drift.name}: {drift.last} > {drift.limit}" for drift in drifts if drift.drifted]
        broken = [f"broken: {self._book.broken}"] if self._book.broken else []
        return {
            "soak": f"{self._minutes:g} min",
            "seed": self._seed,
            "seconds": round(time.monotonic() - self._began),
            "turns": self._book.ended,
            "kills": dict(self._lives.ends),
            "worst_ready_sec": round(max(self._lives.ready_sec, default=0), 2),
            "first_event_of_life_ms": quantiles([1000 * sec for sec in self._lives.first_event_sec]),
            "repeated_calls": self._repeats.most(self._book.resumed)[0],
            **{f"{name}_ms": quantiles([v for _, v in series]) for name, series in self._book.latencies.items()},
            "lives": gauges.lives_of(self._samples),
            "disk_peak_kb": gauges.disk_peaks(self._samples),
            "counts": dict(sorted(self._book.counts.items())),
            "drift": {drift.name: {k: v for k, v in asdict(drift).items() if k != "name"} for drift in drifts},
            "verdict": "; ".join(broken + [f"drifted: {line}" for line in drifted]) or "kept",
        }

    def _drifts(self) -> list[Drift]:
        long_life = [sample for sample in self._samples if sample.life == len(self._lives.started)]
        if len(long_life) <= gauges.FEWEST:
            return []
        idle = long_life[-1]
        return [
            *gauges.drifts_of_life(long_life[:-1]),
            Drift("idle_sockets", 0, idle.sockets, IDLE_SOCKETS),
            *gauges.drifts_of_disk(self._samples),
            *gauges.drifts_of_latency(self._book.latencies, self._samples),
        ]
