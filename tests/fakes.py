"""Fakes of what the graph reaches outside: a scripted model, a retriever, a clock, a loop without waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from graph.failure import Failure
from graph.model_call import Patience
from graph.ports import Ports


class Silence:
    """In a script: the model says nothing any more."""


# A piece of text, a whole chunk, seconds to wait, an error to raise, or silence.
Piece = str | AIMessageChunk | float | BaseException | Silence


class FakeModel(BaseChatModel):
    """Streams what `script` gives for the call's number, from 1. `kind` is what LangChain calls `_llm_type`."""

    script: Callable[[int], Iterable[Piece]]
    kind: str = "fake"
    prompts: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return self.kind

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("the graph streams")

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.prompts.append(str(messages[-1].text))
        for piece in self.script(len(self.prompts)):
            if isinstance(piece, BaseException):
                raise piece
            if isinstance(piece, Silence):
                await asyncio.get_running_loop().create_future()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                message = AIMessageChunk(content=piece) if isinstance(piece, str) else piece
                yield ChatGenerationChunk(message=message)


class FakeRetriever(BaseRetriever):
    """Finds one passage for every question; raises `error` if there is one."""

    queries: list[str] = Field(default_factory=list)
    error: Exception | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError("the graph asks it by ainvoke: a thread needs real time")

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        self.queries.append(query)
        if self.error is not None:
            raise self.error
        text = f"Passage {len(self.queries)} about storage."
        return [Document(text, metadata={"title": "Storage", "url": f"storage.md#{len(self.queries)}"})]


class FakeClock:
    """Time that passes only by `sleep`. `slept` are the sleeps in order."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.time = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class RecordingListener:
    """What a call told its listener, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def started(self, attempt: int) -> None:
        self.heard.append(("started", attempt))

    def token(self, text: str) -> None:
        self.heard.append(("token", text))

    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None:
        self.heard.append(("retrying", attempt, delay_sec, failure.type))


class _NoWaiting(selectors.SelectSelector):
    """Instead of waiting for a timer, moves the clock on to it. For tests without threads or sockets."""

    time = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.time += max(timeout or 0.0, 0.0)
        return super().select(0 if timeout is not None else None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers are due at once, in their order; `time()` is what they add up to."""

    def __init__(self) -> None:
        self._clock = _NoWaiting()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.time

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # Threads need real time: since Python 3.12 a limit is given, which would be over at once here.
        await super().shutdown_default_executor()


def words(text: str) -> list[str]:
    """The pieces in which a model may stream `text`."""
    return [word + " " for word in text.split()]


def answers(call: int) -> list[str]:
    """A script: a short text of three words, another one for each call."""
    return words(f"Answer number {call}.")


def fake_ports(model: FakeModel, retriever: FakeRetriever | None = None, clock: FakeClock | None = None) -> Ports:
    """Ports over fakes; a failing call is tried twice, with no wait."""
    clock = clock or FakeClock()
    found = retriever or FakeRetriever()
    return Ports(
        model=lambda _: model,
        retriever=lambda: found,
        patience=Patience(attempts=2, first_delay_sec=0.5),
        now=clock.now,
        sleep=clock.sleep,
    )
