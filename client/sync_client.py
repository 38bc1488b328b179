"""The client for ordinary code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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


class ResearchClient:
    """Talks to one research server; close it, or use it with `with`.

    While the server is away each request is sent again, for `give_up_after_sec` (None: for as long as it takes), then
    `ServerGone` is raised. A refusal is `RequestRefused`. `sleep` gets the seconds to wait before each new attempt.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        headers: Mapping[str, str] | None = None,
        give_up_after_sec: float | None = 30.0,
        sleep: Callable[[float], object] = time.sleep,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._give_up_after = give_up_after_sec
        self._sleep = sleep
        self._http = httpx2.Client(
            base_url=url,
            headers=with_key(headers),
            timeout=REQUEST_TIMEOUT_SEC,
            trust_env=trusts_environment(url),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def start(
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
        return Started.of(self.json(request))

    def follow(
        self,
        invocation_id: str,
        *,
        last_event_id: int = 0,
        give_up_after_sec: float | None = None,
        max_silence_sec: float = MAX_SILENCE_SEC,
        on_away: Callable[[float], object] | None = None,
    ) -> Iterator[Event]:
        """Yields each event above `last_event_id` once and in order, up to the terminal one.

        It reconnects over crashes and restarts of the server; `on_away` gets the seconds before each new attempt. Where
        nothing came for `give_up_after_sec`, `ServerGone`: the run has not ended. Raises also `StreamGone` (events past
        their retention; record and report are kept), `InvocationUnknown`, `StreamBroken` and `RequestRefused`.
        """
        stream, waits = Stream(invocation_id, last_event_id, max_silence_sec), Waits(give_up_after_sec)
        while not stream.ended:
            try:
                for event in self._connection(stream, waits):
                    waits.reset()
                    yield event
            except (*LOST, ServerAway):
                pass
            if not stream.ended:
                delay = waits.next()
                if on_away is not None:
                    on_away(delay)
                self._sleep(delay)

    def steer(
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
        return Started.of(self.json(request))

    def cancel(self, invocation_id: str, *, now: bool = False) -> Invocation:
        """Asks the turn to wind down behind its present model call; `now` breaks the call off."""
        return Invocation.of(self.json(requests.cancel(invocation_id, now=now)))

    def resume(self, invocation_id: str, *, idempotency_key: str | None = None) -> Started:
        """Goes on where a turn stopped that failed, was cancelled or timed out: as a new turn."""
        return Started.of(self.json(requests.resume(invocation_id, idempotency_key)))

    def report(self, invocation_id: str) -> Report:
        """The report; of a turn under way what there is so far. `RequestRefused` (404) where there is nothing yet."""
        return Report.of(self.json(requests.report(invocation_id)))

    def get(self, invocation_id: str) -> Invocation:
        """The record of a turn."""
        return Invocation.of(self.json(requests.record(invocation_id)))

    def list(
        self,
        *,
        thread_id: str | None = None,
        status: Status | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Turns, newest first, at most 200 a page."""
        return Page.of(self.json(requests.page(thread_id, status, limit, cursor)))

    def upload_document(self, name: str, content: bytes) -> Document:
        """Uploads a document for runs to search: a file's content, and its name, whose end says of what kind it is.

        `RequestRefused` where it cannot be read (422) or is too large (413).
        """
        return Document.of(self.json(requests.upload_document(name, content)))

    def documents(self) -> tuple[Document, ...]:
        """All documents of the key, newest first."""
        return Document.all_of(self.json(requests.documents()))

    def delete_document(self, document_id: str) -> None:
        """Deletes a document; one that has gone already is no error."""
        try:
            self.send(requests.delete_document(document_id))
        except RequestRefused as refused:
            if refused.status != 404:
                raise

    def json(self, request: Request) -> Fields:
        """Sends until the server answers; its JSON object."""
        return json_object(self.send(request))

    def send(self, request: Request) -> httpx2.Response:
        """Sends until the server answers. Raises `RequestRefused` and `ServerGone`."""
        waits = Waits(self._give_up_after)
        while True:
            try:
                response = self._http.request(
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
            self._sleep(waits.next())

    def _connection(self, stream: Stream, waits: Waits) -> Iterator[Event]:
        with self._http.stream(
            "GET", stream.path, params=stream.params, headers=stream.headers, timeout=stream.timeout
        ) as response:
            if not check(response.status_code, response.headers):
                response.read()
                raise refusal(response)
            for chunk in response.iter_bytes():
                waits.heard()
                yield from stream.feed(chunk)
                if stream.ended:
                    return
