"""Following an invocation over a transport that breaks wherever the test says; sync and async alike."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import islice

import anyio
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import AsyncResearchClient, ResearchClient
from client.errors import ClientError, InvocationUnknown, RequestRefused, ServerGone, StreamBroken, StreamGone

DONE = b'event: done\ndata: {"type": "done"}\n\n'
CUT = httpx2.ReadError("cut")

Answer = httpx2.Response | httpx2.TransportError


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """Sends its bytes; then the connection breaks, or ends where there is no error."""

    def __init__(self, content: bytes, error: httpx2.TransportError | None = None) -> None:
        self._content, self._error = content, error

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        if self._error:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class FakeServer:
    """Gives the answers of its script in turn, and keeps what it was asked."""

    def __init__(self, answer: Callable[[int, int], Answer]) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answer(len(self.requests) - 1, int(request.url.params["last_event_id"]))
        if isinstance(answer, httpx2.TransportError):
            raise answer
        return answer

    @property
    def asked_from(self) -> list[int]:
        return [int(request.url.params["last_event_id"]) for request in self.requests]

    def client(self, slept: list[float]) -> ResearchClient:
        return ResearchClient("http://server", transport=httpx2.MockTransport(self), sleep=slept.append)

    def async_client(self, slept: list[float]) -> AsyncResearchClient:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        return AsyncResearchClient("http://server", transport=httpx2.MockTransport(self), sleep=sleep)


def scripted(*answers: Answer) -> FakeServer:
    return FakeServer(lambda turn, _: answers[turn])


def events(*numbers: int) -> bytes:
    return b"".join(f'id: {n}\ndata: {{"sequence_number": {n}, "type": "token"}}\n\n'.encode() for n in numbers)


def stream(content: bytes, error: httpx2.TransportError | None = None) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(content, error))


def numbers(server: FakeServer, *, last_event_id: int = 0, slept: list[float] | None = None) -> list[int]:
    with server.client(slept if slept is not None else []) as client:
        return [event["sequence_number"] for event in client.follow("inv_1", last_event_id=last_event_id)]


def async_numbers(server: FakeServer, *, slept: list[float] | None = None) -> list[int]:
    async def read() -> list[int]:
        async with (
            server.async_client(slept if slept is not None else []) as client,
            aclosing(client.follow("inv_1")) as following,
        ):
            return [event["sequence_number"] async for event in following]

    return anyio.run(read)


def test_yields_events_until_done() -> None:
    server = scripted(stream(b"retry: 1000\n\n: ping\n\n" + events(1, 2, 3) + DONE + events(4)))
    assert numbers(server) == [1, 2, 3]
    assert server.requests[0].url.path == "/invocations/inv_1"
    assert server.requests[0].headers["accept"] == "text/event-stream"


def test_the_silence_it_bears_is_the_read_timeout() -> None:
    server = scripted(stream(DONE))
    with server.client([]) as client:
        assert list(client.follow("inv_1", max_silence_sec=7)) == []
    assert server.requests[0].extensions["timeout"]["read"] == 7


def test_a_cut_at_every_byte_loses_and_repeats_nothing() -> None:
    whole = b"retry: 1000\n\n" + events(*range(1, 6)) + DONE
    for at in range(len(whole)):
        for error in (CUT, httpx2.ReadTimeout("silent"), httpx2.RemoteProtocolError("closed"), None):

            def answer(turn: int, last: int, at: int = at, error: httpx2.TransportError | None = error) -> Answer:
                return stream(whole[:at], error) if turn == 0 else stream(events(*range(last + 1, 6)) + DONE)

            assert numbers(FakeServer(answer)) == [1, 2, 3, 4, 5]
            assert async_numbers(FakeServer(answer)) == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_any_row_of_cuts_loses_and_repeats_nothing(cuts: list[int]) -> None:
    def answer(turn: int, last: int) -> Answer:
        rest = events(*range(last + 1, 11)) + DONE
        return stream(rest[: cuts[turn]], CUT) if turn < len(cuts) else stream(rest)

    assert numbers(FakeServer(answer)) == list(range(1, 11))
    assert async_numbers(FakeServer(answer)) == list(range(1, 11))


def test_asks_on_from_the_last_number_seen() -> None:
    server = scripted(stream(events(8, 9), CUT), httpx2.ConnectError("down"), stream(events(10)), stream(DONE))
    assert numbers(server, last_event_id=7) == [8, 9, 10]
    assert server.asked_from == [7, 9, 9, 10]


def test_passes_over_numbers_it_has_seen() -> None:
    assert numbers(scripted(stream(events(1, 2), CUT), stream(events(1, 2, 2, 3) + DONE))) == [1, 2, 3]


def test_passes_over_named_frames_it_does_not_know() -> None:
    assert numbers(scripted(stream(events(1) + b"event: news\ndata: x\n\n" + events(2) + DONE))) == [1, 2]


def test_backoff_grows_to_its_cap_and_every_event_resets_it() -> None:
    down = httpx2.ConnectError("down")
    slept: list[float] = []
    server = scripted(*[down] * 7, stream(b": ping\n\n", CUT), stream(events(1), CUT), down, stream(DONE))
    assert numbers(server, slept=slept) == [1]
    assert slept == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 0.2, 0.4])
    again: list[float] = []
    server = scripted(*[down] * 7, stream(b": ping\n\n", CUT), stream(events(1), CUT), down, stream(DONE))
    assert async_numbers(server, slept=again) == [1]
    assert again == pytest.approx(slept)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_away_is_asked_again(status: int) -> None:
    assert numbers(scripted(httpx2.Response(status), stream(events(1) + DONE))) == [1]


PROBLEM = {"content-type": "application/problem+json"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx2.Response(404), InvocationUnknown),
        (httpx2.Response(410), StreamGone),
        (stream(b"event: gone\ndata: {}\n\n"), StreamGone),
        (stream(events(2)), StreamBroken),
        (stream(b"id: 1\ndata: nonsense\n\n"), StreamBroken),
        (stream(b"id: 1\ndata: []\n\n"), StreamBroken),
        (stream(b"data: {}\n\n"), StreamBroken),
        (stream(b'id: 2\ndata: {"sequence_number": 1}\n\n'), StreamBroken),
        (stream(b'id: True\ndata: {"sequence_number": "True"}\n\n'), StreamBroken),
        (httpx2.Response(200, html="<p>a proxy's page"), StreamBroken),
    ],
)
def test_what_cannot_get_better_is_raised(answer: httpx2.Response, error: type[ClientError]) -> None:
    with pytest.raises(error):
        numbers(scripted(answer))


def test_only_a_terminal_event_ends_it() -> None:
    """A connection that ends without one is a server that went away; behind one, nothing is asked."""
    last = b'id: 2\ndata: {"sequence_number": 2, "type": "run_complete"}\n\n'
    server = scripted(stream(events(1)), stream(b""), stream(last, CUT))
    assert numbers(server) == [1, 2]
    assert server.asked_from == [0, 1, 1]
    assert async_numbers(scripted(stream(events(1)), stream(b""), stream(last, CUT))) == [1, 2]


def test_a_server_that_stays_away_is_told_from_a_run_that_ended() -> None:
    told: list[float] = []
    server = FakeServer(lambda *_: httpx2.ConnectError("down"))
    with server.client([]) as client, pytest.raises(ServerGone, match="not lost"):
        list(client.follow("inv_1", give_up_after_sec=0.7, on_away=told.append))
    assert told == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (json.dumps({"title": "Wrong", "detail": "last_event_id\x1b is wrong"}), "last_event_id is wrong"),
        (json.dumps({"title": "Wrong"}), "Wrong"),
        ("<html>", "Unprocessable Content"),
        ("[]", "Unprocessable Content"),
    ],
)
def test_a_refusal_has_the_problem_s_detail(content: str, detail: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        numbers(scripted(httpx2.Response(422, headers=PROBLEM, text=content)))
    assert (refused.value.status, refused.value.detail) == (422, detail)


def test_a_wrong_url_is_not_tried_again() -> None:
    with pytest.raises(httpx2.UnsupportedProtocol):
        numbers(scripted(httpx2.UnsupportedProtocol("ftp")))


def test_it_is_lazy_and_closes_its_connection() -> None:
    server = scripted(stream(events(*range(1, 100))))
    with server.client([]) as client:
        first = list(islice(client.follow("inv_1"), 2))
    assert [event["sequence_number"] for event in first] == [1, 2]
