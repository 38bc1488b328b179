"""The SSE decoder, by the examples and the rules of the WHATWG standard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.sse import Frame, FrameDecoder


def decode(*chunks: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


def message(data: str, *, id: str = "", event: str = "message", retry: int | None = None) -> Frame:
    return Frame(id=id, event=event, data=data, retry=retry)


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        pytest.param(b"data: a\n\n", [message("a")], id="one space is removed"),
        pytest.param(b"data:a\n\ndata:  b\n\n", [message("a"), message(" b")], id="only one"),
        pytest.param(b"data: a\ndata\ndata: b\n\n", [message("a\n\nb")], id="multi-line data"),
        pytest.param(b"data\n\n", [message("")], id="empty data is dispatched"),
        pytest.param(b"event: done\n\ndata: a\n\n", [message("a")], id="an event without data is forgotten"),
        pytest.param(b"event: done\ndata: a\n\ndata: b\n\n", [message("a", event="done"), message("b")], id="event"),
        pytest.param(b": ping\n\n:data: a\n\n", [], id="comments"),
        pytest.param(b"Data: a\n data: b\nother: c\n\n", [], id="unknown fields"),
        pytest.param(b"data: a\n", [], id="unfinished frame"),
        pytest.param(b"data: a\r\rdata: b\r\n\r\n", [message("a"), message("b")], id="CR and CRLF"),
        pytest.param(b"data: a\n\r\ndata: b\n\n", [message("a"), message("b")], id="mixed"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [message("a")], id="BOM"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="only one BOM"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [message("a")], id="BOM only at the start"),
        pytest.param(b"data: \xe2\x82\xac \xff\n\n", [message("€ \ufffd")], id="UTF-8"),
        pytest.param("data: a\u2028b\x85c\x0bd\n\n".encode(), [message("a\u2028b\x85c\x0bd")], id="not line ends"),
    ],
)
def test_frames(stream: bytes, frames: list[Frame]) -> None:
    assert decode(stream) == frames


@pytest.mark.parametrize(
    ("stream", "ids"),
    [
        pytest.param(b"id: 1\ndata: a\n\ndata: b\n\n", ["1", "1"], id="stays"),
        pytest.param(b"id: 1\n\ndata: b\n\n", ["1"], id="counts without data"),
        pytest.param(b"id: 1\ndata: a\n\nid\ndata: b\n\n", ["1", ""], id="an empty one resets"),
        pytest.param(b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", ["1", "1"], id="one with NUL is ignored"),
    ],
)
def test_id(stream: bytes, ids: list[str]) -> None:
    assert [frame.id for frame in decode(stream)] == ids


@pytest.mark.parametrize(
    ("value", "retry"),
    [("1000", 1000), ("0", 0), ("", None), ("-1", None), ("1.5", None), ("١", None), ("9" * 5000, None)],
)
def test_retry(value: str, retry: int | None) -> None:
    assert decode(f"retry: {value}\n\ndata: a\n\n".encode()) == [message("a", retry=retry)]


FIELDS = [b"data", b"id", b"event", b"retry", b"data: {}\n\n", b"id: 1\r\n"]
PUNCTUATION = [b":", b" ", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\0", b"7"]
CHARACTERS = [b"\xef\xbb\xbf", "€".encode(), "😀".encode(), b"\xff", b"\xe2\x82"]
PIECES = st.sampled_from([*FIELDS, *PUNCTUATION, *CHARACTERS])


@given(st.lists(PIECES | st.binary(max_size=4), max_size=40).map(b"".join), st.data())
def test_any_splitting_gives_the_same_frames(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=len(stream))))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = decode(stream)
    assert decode(*chunks) == whole
    assert decode(*(bytes([byte]) for byte in stream)) == whole
