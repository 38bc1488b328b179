"""The parser and the reader that the acceptance tests trust."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.acceptance.client import Frame, Frames, ResearchClient, SSEParser


def parse(*chunks: bytes) -> list[Frame]:
    parser = SSEParser()
    return [frame for chunk in chunks for frame in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "frame"),
    [
        (b"data: a\n\n", Frame(data="a")),
        (b"data:a\n\n", Frame(data="a")),
        (b"data:  a\n\n", Frame(data=" a")),
        (b"data: a: b\n\n", Frame(data="a: b")),
        (b"data: a\ndata: b\n\n", Frame(data="a\nb")),
        (b"data\ndata\n\n", Frame(data="\n")),
        (b"data\n\n", Frame(data="")),
        (b"id: 7\nevent: done\ndata: a\nretry: 1000\n\n", Frame(id="7", event="done", data="a", retry=1000)),
        (b": ping\n\n", Frame(comments=("ping",))),
        (b":\ndata: a\n\n", Frame(data="a", comments=("",))),
        (b"id: a\0b\ndata: a\n\n", Frame(data="a")),
        (b"retry: 1s\ndata: a\n\n", Frame(data="a")),
        (b"other: x\nDATA: y\ndata: a\n\n", Frame(data="a")),
        (b"\xef\xbb\xbfdata: a\n\n", Frame(data="a")),
        ("data: é\u2028x\x85y\x0bz\n\n".encode(), Frame(data="é\u2028x\x85y\x0bz")),
        (b"data: \xff\n\n", Frame(data="\ufffd")),
        (b"\n\r\r\n\ndata: a\n\n", Frame(data="a")),
        (b"data: a\r\rdata: unfinished", Frame(data="a")),
        (b"data: a\r\n\r\ndata: unfinished\r\n", Frame(data="a")),
    ],
)
def test_a_frame_is_read_by_the_letter(stream: bytes, frame: Frame) -> None:
    assert parse(stream) == [frame]


def test_a_second_byte_order_mark_is_part_of_the_line() -> None:
    assert parse(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")[1:] == [Frame()]


LINES = st.sampled_from(
    [b"id: 1", b"data: \xc3\xa9", b"data", b"event: done", b": ping", b"retry: 5", b"\xef\xbb\xbf", b""]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.data())
def test_chunk_borders_change_nothing(lines: list[tuple[bytes, bytes]], draw: st.DataObject) -> None:
    stream = b"".join(line + end for line, end in lines)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*chunks) == parse(stream)


class Cut(httpx2.SyncByteStream):
    """A body whose connection breaks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx2.RemoteProtocolError("peer closed connection")


class Late(httpx2.SyncByteStream):
    """A body that goes silent."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"id: 1\ndata: {}\n\n"
        raise httpx2.ReadTimeout("silence")


def client(response: httpx2.Response, seen: list[httpx2.Request] | None = None) -> ResearchClient:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append(request)
        return response

    return ResearchClient("http://server", transport=httpx2.MockTransport(answer))


def read(response: httpx2.Response) -> Frames:
    with client(response) as http:
        return http.read_stream("inv_1")


WHOLE = b"retry: 1000\n\nid: 1\ndata: {}\n\nevent: done\ndata: {}\n\n"


def test_a_stream_to_its_end() -> None:
    frames = read(httpx2.Response(200, headers={"cache-control": "no-store"}, content=WHOLE))
    assert (frames.closed, len(frames), frames.last_id) == ("done", 3, 1)
    assert frames.headers["cache-control"] == "no-store"


def test_a_cut_keeps_what_came_and_drops_the_unfinished_frame() -> None:
    frames = read(httpx2.Response(200, stream=Cut(b"id: 1\nda", b"ta: {}\n\nid: 2\ndata: {")))
    assert (frames.closed, list(frames)) == ("cut", [Frame(id="1", data="{}")])


def test_an_end_without_done_is_a_cut() -> None:
    assert read(httpx2.Response(200, content=b"id: 1\ndata: {}\n\n")).closed == "cut"


def test_the_reader_stops_where_it_is_told() -> None:
    with client(httpx2.Response(200, content=WHOLE)) as http:
        frames = http.read_stream("inv_1", until=lambda frame: frame.id == "1")
    assert (frames.closed, frames[-1].id, len(frames)) == ("stopped", "1", 2)


def test_silence_is_a_failure_and_not_a_cut() -> None:
    with pytest.raises(AssertionError, match="did not end within 60 s"):
        read(httpx2.Response(200, stream=Late()))


def test_an_error_answer_raises() -> None:
    with pytest.raises(httpx2.HTTPStatusError):
        read(httpx2.Response(404, json={"title": "not found"}))


def test_the_position_goes_as_query_or_header() -> None:
    seen: list[httpx2.Request] = []
    with client(httpx2.Response(200, content=WHOLE), seen) as http:
        http.read_stream("inv_1", 4)
        http.read_stream("inv_1", 4, via="header")
        http.read_stream("inv_1")
    assert [request.url.query for request in seen] == [b"last_event_id=4", b"", b""]
    assert [request.headers.get("last-event-id") for request in seen] == [None, "4", None]
