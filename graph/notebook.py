"""`research`: a run as the events that the HTTP stream has, without a server. For notebooks and scripts."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained

from graph.checkpoints import CheckpointSaver, is_cancelled, open_checkpoints
from graph.clock import elapsed
from graph.context import Context
from graph.control import TurnControl
from graph.directive import Directive
from graph.events import Event
from graph.graph import build_graph
from graph.opening import Asked, Opening, open_turn
from graph.ports import Ports
from graph.report import markdown_of
from graph.state import Steering
from graph.turn import Review, Turn
from graph.turn_events import ended, expected_failure, new_invocation_id, new_thread_id, run_failed, stamped

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

_BEGAN = time.monotonic()
# How long a loop that was left with `break` may take to be closed, before its thread counts as busy.
LEAVING_SEC = 10.0


class ThreadBusy(RuntimeError):
    """The thread is being researched by another loop of this process: let that one end, or close it, first."""


async def research(
    topic: str | None = None,
    *,
    thread_id: str | None = None,
    steering: Steering = "new_topic",
    context: Context | None = None,
    checkpointer: BaseCheckpointSaver[str] | Path | str | None = None,
    behind: Iterable[Event] = (),
    review: Review | None = None,
    control: TurnControl | None = None,
    ports: Ports | None = None,
) -> AsyncGenerator[Event, None]:
    """Researches `topic` and yields its events, from `run_start` to `run_complete`, `winding_down` or `run_failed`.

    They are those of the HTTP stream (docs/http.md), with `sequence_number` from 1. The last one holds also `report`,
    the Markdown text, and there is no `report_url`.

    Args:
        topic: What to research, or what to say on a thread that has turns. None goes on with what is unfinished.
        thread_id: The thread; a new one where it is None. If its last turn is unfinished and was asked the same, that
            one goes on: `run_start` says `recovered`, what is committed is kept and is not told again.
        steering: On a thread that has turns: `new_topic`, `guidance` for the old one, or `resume` without a topic.
        context: The run's settings; by default those that an unfinished turn began with, else `Context()`.
        checkpointer: What keeps the thread: the path of a SQLite file, which is made if it is missing, or any saver of
            LangGraph's. None keeps it in memory as long as this loop runs.
        behind: The events that the caller has of this thread. Then numbers and attempts go on behind them.
        review: Answers the question behind each phase; needed with `Context(review="phase")`.
        control: By which the run can be reached while it goes on: `control.request(Directive(...))`. A steer ends the
            turn's stream, and that of the next turn follows, again from 1.
        ports: Your own model, sources or clock.

    Raises:
        TopicMissing: there is nothing to research, and nothing to go on with.
        ThreadBusy: another loop of this process researches the thread.
        ValueError: `behind` is not of this thread's turn, or `review` is missing.

    An error that no run is meant to meet is raised behind `run_failed`; one of the model's is told by it alone.
    """
    if (context or Context()).review == "phase" and review is None:
        raise ValueError("review: Context(review='phase') needs a function that answers")
    clock = ports.now if ports else time.time
    asked = Asked(
        thread_id or new_thread_id(), topic, steering, context, new_invocation_id(clock()), behind=tuple(behind)
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_alone(checkpointer, asked.thread_id))
        saver = await stack.enter_async_context(_opened(checkpointer))
        if ports is None:
            ports = Ports()
            stack.callback(ports.close)
        driver = _Driver(build_graph(saver, ports=ports), control or TurnControl(), review, ports)
        while True:
            opening = await open_turn(driver.graph, asked, now=ports.now())
            async with aclosing(driver.events(opening, asked.thread_id)) as events:
                async for event in events:
                    yield event
            if (steer := driver.steered_by) is None:
                return
            asked = Asked(asked.thread_id, steer.message, steer.steering, opening.context, driver.next_run_id)


class _Driver:
    """Runs turns, and numbers what they tell."""

    def __init__(
        self,
        graph: CompiledStateGraph[Any, Context, Any, Any],
        control: TurnControl,
        review: Review | None,
        ports: Ports,
    ) -> None:
        self.graph = graph
        self._control = control
        self._review = review
        self._now = ports.now
        self._prices = ports.prices
        self._number = 0
        # The directive that ended the last turn in favour of a next one, and what that one is to be called.
        self.steered_by: Directive | None = None
        self.next_run_id = ""

    async def events(self, opening: Opening, thread_id: str) -> AsyncGenerator[Event, None]:
        """All events of one turn."""
        self._number = opening.shown
        turn = Turn(
            self.graph,
            thread_id=thread_id,
            run_id=opening.run_id,
            input=opening.input,
            context=opening.context,
            control=self._control,
            seen=opening.seen,
            now=self._now,
            prices=self._prices,
            review=self._review,
            metadata=opening.metadata,
        )
        yield self._told(opening.run_start)
        try:
            async with aclosing(turn.events()) as events:
                async for event in events:
                    yield self._told(event)
        except GraphDrained:
            # As asked by `control.request_drain()`: the turn is unfinished, and can be gone on with.
            return
        except Exception as error:
            # The edge of a turn: the stream ends with what happened, and what nobody expects is raised all the same.
            expected = expected_failure(error)
            words = expected or {"type": type(error).__name__, "message": "The run met an unexpected error."}
            partial = turn.report_so_far("the run failed before it was done")
            report = {"report": markdown_of(partial) if partial else ""}
            yield self._told(run_failed(words, turn.progress.completed_phases) | report)
            if expected is None:
                raise
            return
        self.steered_by = turn.steered_by
        if turn.steered_by is not None:
            yield self._told(self._steering(turn.steered_by))
        result = turn.result
        last = ended(result, duration_sec=elapsed(opening.began, self._now()), report_url=None, prices=self._prices)
        yield self._told(last | {"report": result.report})

    def _steering(self, steer: Directive) -> Event:
        self.next_run_id = new_invocation_id(self._now())
        names = {"invocation_id": self.next_run_id, "multitask_strategy": "interrupt"}
        return {"type": "steering", "message": steer.message, **names}

    def _told(self, event: Event) -> Event:
        self._number += 1
        return {"sequence_number": self._number, **stamped(event, self._now, lambda: time.monotonic() - _BEGAN)}


_locks: WeakValueDictionary[tuple[object, str], asyncio.Lock] = WeakValueDictionary()


@asynccontextmanager
async def _alone(checkpointer: BaseCheckpointSaver[str] | Path | str | None, thread_id: str) -> AsyncIterator[None]:
    """One loop on a thread at a time: one that was left with `break` is closed by Python a little later."""
    lock = _locks.setdefault((_place(checkpointer), thread_id), asyncio.Lock())
    try:
        async with asyncio.timeout(LEAVING_SEC):
            await lock.acquire()
    except TimeoutError as error:
        raise ThreadBusy(ThreadBusy.__doc__) from error
    try:
        yield
    finally:
        lock.release()


def _place(checkpointer: BaseCheckpointSaver[str] | Path | str | None) -> object:
    """What two loops have in common that keep their threads in the same place."""
    if isinstance(checkpointer, Path | str):
        return str(Path(checkpointer).resolve())
    return object() if checkpointer is None else id(checkpointer)


@asynccontextmanager
async def _opened(
    checkpointer: BaseCheckpointSaver[str] | Path | str | None,
) -> AsyncIterator[BaseCheckpointSaver[str]]:
    if checkpointer is None:
        yield InMemorySaver()
    elif isinstance(checkpointer, CheckpointSaver):
        yield checkpointer
    elif isinstance(checkpointer, Path | str):
        path = Path(checkpointer)
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        saver = await open_checkpoints(path)
        try:
            yield saver
        finally:
            await saver.conn.close()
    else:
        yield _without_cancelled_writes(checkpointer)


def _without_cancelled_writes(saver: BaseCheckpointSaver[str]) -> BaseCheckpointSaver[str]:
    """The saver, over the same storage, as one that saves no step which an interrupted cell cut short."""
    kept = copy.copy(saver)

    async def aput_writes(
        config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if not is_cancelled(writes):
            await saver.aput_writes(config, writes, task_id, task_path)

    kept.aput_writes = aput_writes  # type: ignore[method-assign]
    return kept
