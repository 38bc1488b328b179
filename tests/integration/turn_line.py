"""One turn over several processes, one behind the other: what they share is the log and the checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from graph.checkpoints import open_checkpoints
from graph.context import Context
from graph.control import TurnControl
from graph.events import Event
from graph.graph import build_graph
from graph.seen import Seen
from graph.state import Input
from graph.turn import Turn, TurnResult
from tests.acceptance.client import Json
from tests.acceptance.transcript import check_stream, events, model_calls_repeated, subcall_texts
from tests.fakes import FakeModel, FakeRetriever, VirtualLoop, answers, fake_ports
from tests.unit.good_transcript import STAMPS, stream

SMALL = Context(num_phases=2, calls_per_phase=2, intra_phase_cooldown_sec=3600, inter_phase_cooldown_sec=7200)
SUBCALLS = SMALL.num_phases * SMALL.calls_per_phase


class Killed(Exception):
    """The process died while it saved a checkpoint."""


class MortalMemory(InMemorySaver):
    """Memory that takes nothing more of a process that is dead: whatever still goes on in it was never stored.

    The process dies at the checkpoint behind the next `puts_left` ones.
    """

    dead = False
    puts_left: int | None = None

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if self.puts_left is not None:
            self.puts_left -= 1
            if self.puts_left < 0:
                self.dead, self.puts_left = True, None
                raise Killed
        return config if self.dead else super().put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if not self.dead:
            super().put_writes(config, writes, task_id, task_path)


class MortalFile(AsyncSqliteSaver):
    """Likewise a file."""

    dead = False

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return config if self.dead else await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if not self.dead:
            await super().aput_writes(config, writes, task_id, task_path)


OpenSaver = Callable[[], AbstractAsyncContextManager[BaseCheckpointSaver[str]]]


@dataclass
class Line:
    """One turn's log, and the processes that work on it, one behind the other, each with its own event loop."""

    open_saver: OpenSaver
    context: Context = SMALL
    model: FakeModel = field(default_factory=lambda: FakeModel(script=answers))
    retriever: FakeRetriever = field(default_factory=FakeRetriever)
    input: Input = field(default_factory=lambda: Input(message="Tides"))
    run_id: str = "inv_1"
    entry_mode: str = "fresh"
    log: list[Event] = field(default_factory=list)
    result: TurnResult | None = None
    moment: float = 1_000.0

    def process(
        self,
        *,
        dies_after: int | None = None,
        control: Callable[[TurnControl, Event], None] = lambda control, event: None,
    ) -> None:
        """Runs the turn to its end, or until it has told `dies_after` events more; `control` hears of each event."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            began, loop = self.moment, runner.get_loop()
            try:
                runner.run(self.run(dies_after, control, now=lambda: began + loop.time()))
            finally:
                self.moment += loop.time()

    async def run(
        self,
        dies_after: int | None = None,
        control: Callable[[TurnControl, Event], None] = lambda control, event: None,
        *,
        now: Callable[[], float],
    ) -> None:
        """The same on the running loop."""
        before = asyncio.all_tasks()
        seen = Seen() if self.log else None
        for event in self.log:
            assert seen is not None
            seen.note(event)
        self._write(self._run_start("recovered" if self.log else self.entry_mode))
        async with self.open_saver() as saver:
            ports = fake_ports(self.model, self.retriever)
            ports.now = now
            line = TurnControl()
            turn = Turn(
                build_graph(saver, ports=ports),
                thread_id="t",
                run_id=self.run_id,
                input=self.input,
                context=self.context,
                control=line,
                seen=seen,
                now=now,
            )
            try:
                await self._follow(turn, dies_after, lambda event: control(line, event))
            finally:
                if isinstance(saver, MortalMemory | MortalFile):
                    saver.dead = True
                await _quiet(before)

    async def _follow(self, turn: Turn, dies_after: int | None, heard: Callable[[Event], None]) -> None:
        if dies_after == 0:
            return
        told = 0
        async for event in turn.events():
            self._write(event)
            heard(event)
            told += 1
            if told == dies_after:
                return
        self.result = turn.result

    def _write(self, event: Event) -> None:
        self.log.append(event if event["type"] == "token" else event | STAMPS)

    def _run_start(self, mode: str) -> Event:
        names = {"topic": "Tides", "thread_id": "t", "invocation_id": "inv_1", "model": "offline"}
        counts = {"total_phases": self.context.num_phases, "calls_per_phase": self.context.calls_per_phase}
        return {"type": "run_start", "entry_mode": mode, **names, **counts}

    def forget(self, count: int) -> None:
        """The last events did not reach the disk."""
        del self.log[len(self.log) - count :]

    def whole(self) -> list[Json]:
        """The log with the event that the server writes behind a turn that was done."""
        assert self.result is not None
        assert self.result.cause is None
        end = {"phases_completed": self.result.phases_completed, "duration_sec": 1.0, "report_url": "/r"}
        return [*self.log, {"type": "run_complete", **end, "usage": dict(self.result.usage), **STAMPS}]

    def check(self, *, crashes: int) -> None:
        """The stream keeps the promises, and no crash has cost more than one model call."""
        frames = stream(self.whole())
        check_stream(frames, ended=True)
        assert len(subcall_texts(frames)) == SUBCALLS
        assert all(text.startswith("Answer number ") for text in subcall_texts(frames).values())
        assert model_calls_repeated(frames) <= crashes
        assert len(self.model.prompts) <= SUBCALLS + crashes
        starts = [(e["phase"], e["index"]) for e in events(frames) if e["type"] == "subcall_start"]
        assert all(starts.count(start) <= 1 + crashes for start in starts)
        assert self.result is not None
        assert self.result.phases_completed == SMALL.num_phases
        assert "partial" not in self.result.report


async def _quiet(before: set[asyncio.Task[Any]]) -> None:
    """Lets what was broken off come to its end, before its checkpointer is closed."""
    await asyncio.sleep(0)
    await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)


def in_memory(saver: MortalMemory | None = None) -> OpenSaver:
    saver = saver or MortalMemory()

    @asynccontextmanager
    async def opened() -> AsyncIterator[BaseCheckpointSaver[str]]:
        saver.dead = False
        yield saver

    return opened


def on_disk(folder: Path) -> OpenSaver:
    @asynccontextmanager
    async def opened() -> AsyncIterator[BaseCheckpointSaver[str]]:
        async with aiosqlite.connect(folder / "checkpoints.sqlite") as connection:
            yield MortalFile(connection)

    return opened


def as_deployed(folder: Path) -> OpenSaver:
    @asynccontextmanager
    async def opened() -> AsyncIterator[BaseCheckpointSaver[str]]:
        saver = await open_checkpoints(folder / "checkpoints.sqlite")
        try:
            yield saver
        finally:
            await saver.conn.close()

    return opened
