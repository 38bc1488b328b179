"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import httpx2

from client import requests
from client.connection import (
    DEFAULT_URL,
    LOST,
    REQUEST_TIMEOUT_SEC,
    Waits,
    answered,
    away,
    json_object,
    refusal,
    trusts_environment,
    with_key,
)
from client.errors import RequestRefused
from client.events import Event, MultitaskStrategy, Steering
from client.fields import Fields
from client.records import Document, Invocation, Page, Report, Started, Status
from client.requests import Request, RunConfig
from client.stream import MAX_SILENCE_SEC, ServerAway, Stream, check


class AsyncResearchClient:
    """Talks to one research server; close it, or use it with `async with`.

    While the server is away each request is sent again, for `give_up_after_sec` (None: for as long as it takes), then
    `ServerGone` is raised. A refusal is `RequestRefused`. `sleep` gets the seconds to wait before each new attempt.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        headers: Mapping[str, str] | None = None,
        give_up_after_sec: float | None = 30.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._give_up_after = give_up_after_sec
        self._sleep = sleep
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers=with_key(headers),
            timeout=REQUEST_TIMEOUT_SEC,
            trust_env=trusts_environment(url),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def start(
        self,
        topic: str,
        *,
        thread_id: str | None = None,
        config: RunConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Started:
        """Starts a turn on a new thread, or on `thread_id`. It runs to its end whether or not anybody follows."""
        request = requests.start(
            topic, thread_id=thread_id, config=config, metadata=metadata, idempotency_key=idempotency_key
        )
        return Started.of(await self.json(request))

    async def follow(
        self,
        invocation_id: str,
        *,
        last_event_id: int = 0,
        give_up_after_sec: float | None = None,
        max_silence_sec: float = MAX_SILENCE_SEC,
        on_away: Callable[[float], object] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yields each event above `last_event_id` once and in order, up to the terminal one.

        It reconnects over crashes and restarts of the server; `on_away` gets the seconds before each new attempt. Where
        nothing came for `give_up_after_sec`, `ServerGone`: the run has not ended. Raises also `StreamGone` (events past
        their retention; record and report are kept), `InvocationUnknown`, `StreamBroken` and `RequestRefused`.
        Who stops reading early closes it, with `contextlib.aclosing` or by its `aclose()`.
        """
        stream, waits = Stream(invocation_id, last_event_id, max_silence_sec), Waits(give_up_after_sec)
        while not stream.ended:
            try:
                # Closed also where the reader stops early, so that no connection is left open.
                async with aclosing(self._connection(stream, waits)) as events:
                    async for event in events:
                        waits.reset()
                        yield event
            except (*LOST, ServerAway):
                pass
            if not stream.ended:
                delay = waits.next()
                if on_away is not None:
                    on_away(delay)
                await self._sleep(delay)

    async def steer(
        self,
        thread_id: str,
        message: str,
        *,
        steering: Steering = "guidance",
        multitask_strategy: MultitaskStrategy = "interrupt",
        config: RunConfig | None = None,
        idempotency_key: str | None = None,
    ) -> Started:
        """Gives the thread's run a new direction: `guidance` keeps what is done, `new_topic` starts over."""
        request = requests.start(
            message,
            thread_id=thread_id,
            steering=steering,
            multitask_strategy=multitask_strategy,
            config=config,
            idempotency_key=idempotency_key,
        )
        return Started.of(await self.json(request))

    async def cancel(self, invocation_id: str, *, now: bool = False) -> Invocation:
        """Asks the turn to wind down behind its present model call; `now` breaks the call off."""
        return Invocation.of(await self.json(requests.cancel(invocation_id, now=now)))

    async def resume(self, invocation_id: str, *, idempotency_key: str | None = None) -> Started:
        """Goes on where a turn stopped that failed, was cancelled or timed out: as a new turn."""
        return Started.of(await self.json(requests.resume(invocation_id, idempotency_key)))

    async def report(self, invocation_id: str) -> Report:
        """The report; of a turn under way what there is so far. `RequestRefused` (404) where there is nothing yet."""
        return Report.of(await self.json(requests.report(invocation_id)))

    async def get(self, invocation_id: str) -> Invocation:
        """The record of a turn."""
        return Invocation.of(await self.json(requests.record(invocation_id)))

    async def list(
        self,
        *,
        thread_id: str | None = None,
        status: Status | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Turns, newest first, at most 200 a page."""
        return Page.of(await self.json(requests.page(thread_id, status, limit, cursor)))

    async def upload_document(self, name: str, content: bytes) -> Document:
        """Uploads a document for runs to search: a file's content, and its name, whose end says of what kind it is.

        `RequestRefused` where it cannot be read (422) or is too large (413).
        """
        return Document.of(await self.json(requests.upload_document(name, content)))

    async def documents(self) -> tuple[Document, ...]:
        """All documents of the key, newest first."""
        return Document.all_of(await self.json(requests.documents()))

    async def delete_document(self, document_id: str) -> None:
        """Deletes a document; one that has gone already is no error."""
        try:
            await self.send(requests.delete_document(document_id))
        except RequestRefused as refused:
            if refused.status != 404:
                raise

    async def json(self, request: Request) -> Fields:
        """Sends until the server answers; its JSON object."""
        return json_object(await self.send(request))

    async def send(self, request: Request) -> httpx2.Response:
        """Sends until the server answers. Raises `RequestRefused` and `ServerGone`."""
        waits = Waits(self._give_up_after)
        while True:
            try:
                response = await self._http.request(
                    request.method,
                    request.path,
                    json=request.json,
                    content=request.content,
                    params=request.params,
                    headers=request.headers,
                    timeout=request.timeout_sec,
                )
                if not away(response):
                    return answered(response)
            except LOST:
                pass
            await self._sleep(waits.next())

    async def _connection(self, stream: Stream, waits: Waits) -> AsyncGenerator[Event, None]:
        async with self._http.stream(
            "GET", stream.path, params=stream.params, headers=stream.headers, timeout=stream.timeout
        ) as response:
            if not check(response.status_code, response.headers):
                await response.aread()
                raise refusal(response)
            async for chunk in response.aiter_bytes():
                waits.heard()
                for event in stream.feed(chunk):
                    yield event
                if stream.ended:
                    return
