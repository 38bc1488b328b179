"""One model call: streamed, watched for silence, tried again when that may help.

LangGraph's `RetryPolicy` can neither honour Retry-After nor announce its delay before it waits, and a node that its
`TimeoutPolicy` ends cannot say so: see docs/adr/0003-retries-inside-the-subcall.md.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from graph.digest import count_tokens
from graph.failure import CutStream, EmptyAnswer, Failure, ModelFailed, SilentStream, failure_of
from graph.faults import reach
from graph.surrogates import SurrogateMender
from graph.thinking import ThinkingFilter
from graph.token_joiner import TokenJoiner

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from graph.endpoint import Endpoint
    from graph.state import Usage


@dataclass(frozen=True)
class Patience:
    """How long a failing model is borne with: times in seconds, `attempts` includes the first."""

    attempts: int = 6
    first_delay_sec: float = 1.0
    max_delay_sec: float = 60.0
    idle_timeout_sec: float = 120.0

    def delay(self, attempt: int, retry_after_sec: float | None, jitter: float) -> float:
        """Rest behind failed attempt number `attempt`: doubling, jittered (0 to 1), not below Retry-After."""
        backoff = min(self.max_delay_sec, self.first_delay_sec * 2.0 ** (attempt - 1))
        return max(retry_after_sec or 0.0, backoff * (0.5 + jitter / 2)) + (jitter * 0.5 if retry_after_sec else 0.0)


@dataclass(frozen=True)
class Answer:
    """What a model call gave. Where the endpoint counts no tokens, `usage` is estimated from the text's length."""

    text: str
    usage: Usage


class Listener(Protocol):
    """Hears of a call as it goes on."""

    def started(self, attempt: int) -> None: ...
    def token(self, text: str) -> None: ...
    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None: ...


async def call_model(
    model: BaseChatModel,
    messages: list[BaseMessage],
    listener: Listener,
    *,
    endpoint: Endpoint,
    patience: Patience,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Answer:
    """The model's answer to `messages`. Raises `ModelFailed` when trying again would not help, or did not."""
    attempt = 0
    while True:
        attempt += 1
        await endpoint.ready()
        listener.started(attempt)
        try:
            answer = await _stream(model, messages, listener, patience.idle_timeout_sec)
        except Exception as error:
            failure = failure_of(error)
            delay = patience.delay(attempt, failure.retry_after_sec, random.random())  # noqa: S311
            if failure.limited:
                endpoint.limited(delay)
            if not failure.transient or attempt >= patience.attempts:
                raise ModelFailed(failure) from error
            listener.retrying(attempt, delay, failure)
            await sleep(delay)
        else:
            endpoint.succeeded()
            return answer


class Silence:
    """Raises `TimeoutError` in its block when nothing has been heard for `seconds`.

    `asyncio.Timeout.reschedule` for each token took a tenth of a call's time: here a token only notes the time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._now = asyncio.get_running_loop().time
        self._heard_at = self._now()
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """Something was heard now."""
        self._heard_at = self._now()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, at)

    def _watch(self) -> None:
        silent_at = self._heard_at + self._seconds
        if silent_at > self._now():
            self._timer = asyncio.get_running_loop().call_at(silent_at, self._watch)
        else:
            self._timeout.reschedule(silent_at)


async def _stream(model: BaseChatModel, messages: list[BaseMessage], listener: Listener, idle_sec: float) -> Answer:
    joiner, mender, thinking = TokenJoiner(listener.token), SurrogateMender(), ThinkingFilter()
    usage: Usage = {"input_tokens": 0, "output_tokens": 0}
    # OpenAI's wire format says when an answer is complete; of other chat models we cannot know.
    finished = model._llm_type != "openai-chat"
    pieces = 0
    try:
        async with Silence(idle_sec) as silence:
            async for chunk in model.astream(messages):
                silence.heard()
                piece = chunk.content if isinstance(chunk.content, str) else str(chunk.text)
                if text := thinking.answer(mender.mended(piece)):
                    joiner.add(text)
                    reach("token.first" if pieces == 0 else "token.middle")
                    pieces += 1
                if counted := chunk.usage_metadata:
                    usage["input_tokens"] += counted["input_tokens"]
                    usage["output_tokens"] += counted["output_tokens"]
                    finished = True
                finished = finished or "finish_reason" in chunk.response_metadata
    except TimeoutError as error:
        raise SilentStream(f"The model sent nothing for {idle_sec:g} s.") from error
    finally:
        if rest := thinking.answer(mender.rest()) + thinking.rest():
            joiner.add(rest)
        joiner.flush()
    return _checked(joiner.text, usage, finished=finished, messages=messages)


def _checked(text: str, usage: Usage, *, finished: bool, messages: list[BaseMessage]) -> Answer:
    if not finished:
        raise CutStream("The model's stream ended before its answer was complete.")
    if not text.strip():
        raise EmptyAnswer("The model's answer was empty.")
    if not usage["output_tokens"]:
        prompt = sum(count_tokens(str(message.content)) for message in messages)
        usage = {"input_tokens": prompt, "output_tokens": count_tokens(text)}
    return Answer(text, usage)
