"""What the stub has been commanded, the calls that came, and the text they get."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, computed_field

State = Literal["started", "held", "finished", "disconnected", "ended"]
Messages = list[dict[str, Any]]  # roles and contents as the client wrote them; only hashed and counted here


class Fault(BaseModel):
    """What goes wrong with the next `times` calls; `ok` lets them pass. `refuse` closes the connection unanswered."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["ok", "status", "cut", "silent", "empty", "malformed", "refuse"]
    after_tokens: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after: str | None = None
    times: Annotated[int, Field(ge=1)] = 1


class Command(BaseModel):
    """Body of `POST /control`. Faults are appended; a release opens the gate; a reset forgets all.

    `at_once` writes a streamed answer as one piece, without faults and holds: benchmarks want the stub's cost low.
    `timed` puts the time of sending into the tokens, as ` @<monotonic nanoseconds>`. `forget`: calls up to this number.
    """

    model_config = ConfigDict(extra="forbid")
    reset: bool = False
    release: bool = False
    tokens: Annotated[int, Field(ge=0)] | None = None
    delay_ms: Annotated[float, Field(ge=0)] | None = None
    at_once: bool | None = None
    timed: bool | None = None
    faults: list[Fault] = []
    hold_after_tokens: Annotated[int, Field(ge=0)] | None = None
    hold_from_call: Annotated[int, Field(ge=1)] = 1
    forget: Annotated[int, Field(ge=0)] = 0


class Call(BaseModel):
    """One request for a completion, as `GET /calls` tells it. Times are Unix seconds, but `started_monotonic`.

    `prompt` is the fingerprint of all messages, `asked` the last user message, `last_user` its first 200 characters.
    """

    number: int
    prompt: str
    last_user: str
    asked: str
    model: str
    started_at: float
    started_monotonic: float
    status: int | None = None
    tokens_sent: int = 0
    held: bool = False
    hung_up: bool = False
    fault: str = "ok"
    finished_at: float | None = None
    disconnected_at: float | None = None

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def finished(self) -> bool:
        """Whether the stub got to the end of its answer, be it an error's."""
        return self.finished_at is not None

    def reached(self, state: State) -> bool:
        gone = self.disconnected_at is not None
        ended = self.finished or gone or self.hung_up
        return {"started": True, "held": self.held, "finished": self.finished, "disconnected": gone, "ended": ended}[
            state
        ]


class Gate:
    """Where calls wait until the test lets them go on."""

    def __init__(self, after_tokens: int, from_call: int) -> None:
        self.after_tokens, self.from_call = after_tokens, from_call
        self.opened = asyncio.Event()


def fingerprint(messages: Messages) -> str:
    """Sha256 of the messages, whatever the order of their keys."""
    return hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()


def tokens_of(prompt: str, count: int) -> list[str]:
    """The answer to the messages with this fingerprint: joined, `p<hash> word1 word2 …`."""
    return [f"p{prompt[:12]}", *(f" word{i}" for i in range(1, count))][:count]


def usage_of(messages: Messages, tokens: list[str]) -> dict[str, int]:
    """Usage as OpenAI counts it, with a word for a token."""
    asked = sum(len(str(message.get("content", "")).split()) for message in messages)
    return {"prompt_tokens": asked, "completion_tokens": len(tokens), "total_tokens": asked + len(tokens)}


class Model:
    """What has been commanded, and the calls that came."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.gate: Gate | None = None
        self._reset()

    def _reset(self) -> None:
        self.calls: list[Call] = []
        self._numbered = 0
        self.faults: deque[Fault] = deque()
        self.tokens, self.delay = 20, 0.0
        self.at_once = self.timed = False

    def command(self, command: Command) -> None:
        if self.gate and (command.release or command.reset):
            self.gate.opened.set()
            self.gate = None
        if command.reset:
            self._reset()
        if command.tokens is not None:
            self.tokens = command.tokens
        if command.delay_ms is not None:
            self.delay = command.delay_ms / 1000
        self.at_once = self.at_once if command.at_once is None else command.at_once
        self.timed = self.timed if command.timed is None else command.timed
        if command.hold_after_tokens is not None:
            self.gate = Gate(command.hold_after_tokens, command.hold_from_call)
        self.calls = [call for call in self.calls if call.number > command.forget]
        self.faults.extend(fault for fault in command.faults for _ in range(fault.times))

    def begin(self, messages: Messages, model: str = "stub") -> Call:
        asked = [str(message.get("content", "")) for message in messages if message.get("role") == "user"]
        self._numbered += 1
        call = Call(
            number=self._numbered,
            prompt=fingerprint(messages),
            last_user=asked[-1][:200] if asked else "",
            asked=asked[-1] if asked else "",
            model=model,
            started_at=time.time(),
            started_monotonic=time.monotonic(),
        )
        self.calls.append(call)
        self.notify()
        return call

    def next_fault(self) -> Fault:
        return self.faults.popleft() if self.faults else Fault(kind="ok")

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, count: int, state: State) -> None:
        while sum(call.reached(state) for call in self.calls) < count:
            await self._changed.wait()
