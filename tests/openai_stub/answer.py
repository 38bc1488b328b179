"""One call's answer, token by token, with its fault and its hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import ClassVar

import orjson
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.openai_stub.model import Call, Messages, Model, tokens_of, usage_of


class ChatRequest(BaseModel):
    """The part of OpenAI's request that changes the answer."""

    messages: Messages
    model: str = "stub"
    stream: bool = False
    stream_options: dict[str, bool] | None = None


class HungUp(Exception):
    """The connection is to be closed here."""


class Malformed(Exception):
    """The answer is to be broken here."""


class Answer(Response):
    """The answer to one call, given token by token while the client's connection is watched."""

    def __init__(self, model: Model, call: Call, asked: ChatRequest) -> None:
        super().__init__()
        self.model, self.call, self.asked = model, call, asked
        self.fault = model.next_fault()
        call.fault = self.fault.kind
        self.tokens = [] if self.fault.kind == "empty" else tokens_of(call.prompt, model.tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._answer(scope, send))
        gone = asyncio.create_task(_disconnect(receive))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            self._note_end(answering.done())
        finally:
            gone.cancel()
            answering.cancel()
            await asyncio.gather(gone, answering, return_exceptions=True)
        if not answering.cancelled():
            answering.result()

    def _note_end(self, answered: bool) -> None:
        if answered:
            self.call.finished_at = time.time()
        elif not self.call.hung_up:
            self.call.disconnected_at = time.time()
        self.model.notify()

    async def _answer(self, scope: Scope, send: Send) -> None:
        try:
            if self.fault.kind == "refuse":
                raise HungUp
            if self.fault.kind == "status":
                await self._refuse_politely(send)
            else:
                await (self._stream(send) if self.asked.stream else self._whole(send))
        except HungUp:
            await self._hang_up(scope)

    async def _hang_up(self, scope: Scope) -> None:
        self.call.hung_up = True
        Connection.open[tuple(scope["client"])].close()
        await asyncio.Event().wait()  # until the watcher of the connection sees it closed

    async def _refuse_politely(self, send: Send) -> None:
        status = self.fault.status
        error = {"message": f"stub fault {status}", "type": "stub_error", "param": None, "code": str(status)}
        headers = {} if self.fault.retry_after is None else {"retry-after": self.fault.retry_after}
        await self._start(send, status, "application/json", **headers)
        await send({"type": "http.response.body", "body": orjson.dumps({"error": error})})

    async def _start(self, send: Send, status: int, content_type: str, **headers: str) -> None:
        self.call.status = status
        pairs = {"content-type": content_type, **headers}.items()
        raw = [(name.encode(), value.encode()) for name, value in pairs]
        await send({"type": "http.response.start", "status": status, "headers": raw})

    async def _stream(self, send: Send) -> None:
        await self._start(send, 200, "text/event-stream; charset=utf-8")
        if self.model.at_once:
            await send({"type": "http.response.body", "body": self._whole_stream()})
            return
        await self._event(send, self._chunk({"role": "assistant", "content": "", "refusal": None}))
        try:
            async for token in self._paced():
                content = f" @{time.monotonic_ns()}" if self.model.timed else token
                await self._event(send, self._chunk({"content": content}))
                self.call.tokens_sent += 1
        except Malformed:
            await self._event(send, b'{"choices": [{"delta": {"conte')
        await self._event(send, self._chunk({}, finish_reason="stop"))
        if self._wants_usage:
            await self._event(send, self._usage_chunk())
        await self._event(send, b"[DONE]")
        await send({"type": "http.response.body", "body": b""})

    def _whole_stream(self) -> bytes:
        self.call.tokens_sent = len(self.tokens)
        chunks = [self._chunk({"content": token}) for token in self.tokens]
        last = [self._chunk({}, finish_reason="stop"), *([self._usage_chunk()] if self._wants_usage else []), b"[DONE]"]
        return b"".join(b"data: " + chunk + b"\n\n" for chunk in [*chunks, *last])

    async def _whole(self, send: Send) -> None:
        body = self._completion()
        try:
            async for _ in self._paced():
                pass
        except Malformed:
            body = body[: len(body) // 2]
        except HungUp:
            await self._start(send, 200, "application/json")
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise
        await self._start(send, 200, "application/json")
        await send({"type": "http.response.body", "body": body})

    async def _paced(self) -> AsyncIterator[str]:
        for position, token in enumerate(self.tokens):
            await self._stop(position)
            await asyncio.sleep(self.model.delay)
            yield token
        await self._stop(len(self.tokens))

    async def _stop(self, position: int) -> None:
        gate = self.model.gate
        if gate and self.call.number >= gate.from_call and position == min(gate.after_tokens, len(self.tokens)):
            self.call.held = True
            self.model.notify()
            await gate.opened.wait()
        if position == min(self.fault.after_tokens, len(self.tokens)):
            await self._fail()

    async def _fail(self) -> None:
        if self.fault.kind == "cut":
            raise HungUp
        if self.fault.kind == "malformed":
            raise Malformed
        if self.fault.kind == "silent":
            await asyncio.Event().wait()

    async def _event(self, send: Send, payload: bytes) -> None:
        await send({"type": "http.response.body", "body": b"data: " + payload + b"\n\n", "more_body": True})

    @property
    def _wants_usage(self) -> bool:
        return bool((self.asked.stream_options or {}).get("include_usage"))

    def _chunk(self, delta: dict[str, str | None], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        unused: dict[str, object] = {"usage": None} if self._wants_usage else {}
        return self._envelope("chat.completion.chunk", {"choices": [choice], **unused})

    def _usage_chunk(self) -> bytes:
        return self._envelope("chat.completion.chunk", {"choices": [], "usage": self._usage})

    def _completion(self) -> bytes:
        message = {"role": "assistant", "content": "".join(self.tokens), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self._envelope("chat.completion", {"choices": [choice], "usage": self._usage})

    @property
    def _usage(self) -> dict[str, int]:
        return usage_of(self.asked.messages, self.tokens)

    def _envelope(self, kind: str, content: dict[str, object]) -> bytes:
        head = {"id": f"chatcmpl-{self.call.number}", "object": kind, "created": int(self.call.started_at)}
        return orjson.dumps(head | {"model": self.asked.model, "system_fingerprint": "fp_stub"} | content)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Connection(H11Protocol):
    """A connection that can be found by its peer, so that a fault can close it."""

    open: ClassVar[dict[tuple[str, int], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.open[transport.get_extra_info("peername")] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.pop(self.transport.get_extra_info("peername"), None)
        super().connection_lost(exc)
