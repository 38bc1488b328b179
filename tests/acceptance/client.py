"""What the tests ask a server over HTTP, and a reader of its event streams that is independent of the product's."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, cast

import httpx2

from tests.acceptance import planted

Json = dict[str, Any]  # what a server answered; each test looks at what it needs
Closed = Literal["done", "cut", "stopped"]


@dataclass(frozen=True)
class Frame:
    """The lines of a stream up to an empty one. None: the field was not there. Several `data` are joined with LF."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: int | None = None
    comments: tuple[str, ...] = ()


class Frames(list[Frame]):
    """What one reading of a stream got, and how it ended.

    `done`: the connection closed behind `event: done`; `cut`: it closed without; `stopped`: the test had enough.
    """

    def __init__(self, frames: Iterable[Frame] = (), closed: Closed = "cut") -> None:
        super().__init__(frames)
        self.closed = closed
        self.headers: dict[str, str] = {}

    @property
    def last_id(self) -> int:
        """The highest number read, 0 where there was none."""
        return max((int(frame.id) for frame in self if frame.id), default=0)


def of_type(kind: str, *, phase: int | None = None) -> Callable[[Frame], bool]:
    """Whether a frame is an event of that type, in that phase: for `read_stream(until=…)`."""
    wanted = [f'"type":"{kind}"', *([] if phase is None else [f'"phase":{phase},'])]
    return lambda frame: frame.data is not None and all(words in frame.data for words in wanted)


def nth_of_type(kind: str, number: int) -> Callable[[Frame], bool]:
    """Whether a frame is the event of that type that comes as number `number`, from 1, in one reading."""
    left = iter(range(number - 1, -1, -1))
    return lambda frame: of_type(kind)(frame) and next(left, 0) == 0


@dataclass
class _Block:
    """The fields of a frame that is not complete yet."""

    id: str | None = None
    event: str | None = None
    data: list[str] = field(default_factory=list)
    retry: int | None = None
    comments: list[str] = field(default_factory=list)
    empty: bool = True

    def take(self, line: str) -> None:
        self.empty = False
        if line.startswith(":"):
            self.comments.append(line[1:].removeprefix(" "))
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name == "event":
            self.event = value
        elif name == "id" and "\0" not in value:
            self.id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def frame(self) -> Frame:
        data = "\n".join(self.data) if self.data else None
        return Frame(self.id, self.event, data, self.retry, tuple(self.comments))


class SSEParser:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, comments kept."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._pending, self._after_cr, self._at_start = "", False, True
        self._block = _Block()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that this chunk completes; lines that no empty line follows are never a frame."""
        for line in self._lines(self._decode(chunk)):
            if line:
                self._block.take(line)
            else:
                block, self._block = self._block, _Block()
                if not block.empty:
                    yield block.frame()

    def _lines(self, text: str) -> list[str]:
        text = self._without_bom(text)
        if text and self._after_cr:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, self._pending = (self._pending + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return lines

    def _without_bom(self, text: str) -> str:
        if text and self._at_start:
            self._at_start = False
            return text.removeprefix("\ufeff")
        return text


def _ok(answer: httpx2.Response) -> httpx2.Response:
    try:
        return answer.raise_for_status()
    except httpx2.HTTPStatusError as error:
        error.add_note(answer.text)
        raise


class ResearchClient:
    """A thin client. Answers of 400 and more raise `httpx2.HTTPStatusError`, but for `request`, which returns all."""

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:  # options are httpx2's own
        planted.note(options.get("json"))
        return self._http.request(method, path, **options)

    def post(self, message: str, *, headers: dict[str, str] | None = None, **body: object) -> Json:
        """The 202 of a new turn."""
        answer = self.request("POST", "/invocations", json={"message": message, **body}, headers=headers)
        return cast(Json, _ok(answer).json())

    def record(self, invocation_id: str) -> Json:
        answer = self.request("GET", f"/invocations/{invocation_id}", headers={"accept": "application/json"})
        return cast(Json, _ok(answer).json())

    def report(self, invocation_id: str) -> str:
        return _ok(self.request("GET", f"/invocations/{invocation_id}/report")).text

    def cancel(self, invocation_id: str, **body: object) -> Json:
        answer = self.request("POST", f"/invocations/{invocation_id}/cancel", json=body)
        return cast(Json, _ok(answer).json())

    def resume(self, invocation_id: str) -> Json:
        return cast(Json, _ok(self.request("POST", f"/invocations/{invocation_id}/resume")).json())

    def wait_for(self, invocation_id: str, predicate: Callable[[Json], bool], timeout: float = 60) -> Json:
        """The first record that fits. A server that is down is asked again; after `timeout` s, AssertionError."""
        deadline, seen = time.monotonic() + timeout, "nothing"
        while time.monotonic() < deadline:
            try:
                record = self.record(invocation_id)
            except httpx2.TransportError as error:
                seen = repr(error)
            else:
                if predicate(record):
                    return record
                seen = repr(record)
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout} s; last seen: {seen}")

    def read_stream(
        self,
        invocation_id: str,
        from_: int | None = None,
        until: Callable[[Frame], bool] | None = None,
        timeout: float = 60,
        *,
        via: Literal["header", "query"] = "query",
    ) -> Frames:
        """Read behind number `from_` to the end, a cut, or the frame that `until` wants; too late, AssertionError."""
        headers, params = {"accept": "text/event-stream"}, {}
        if from_ is not None and via == "header":
            headers["last-event-id"] = str(from_)
        elif from_ is not None:
            params["last_event_id"] = from_
        request = self._http.build_request("GET", f"/invocations/{invocation_id}", headers=headers, params=params)
        return self._read(request, until, timeout)

    def post_stream(
        self, message: str, *, until: Callable[[Frame], bool] | None = None, timeout: float = 60, **body: object
    ) -> Frames:
        """Start a turn and read its stream from the same answer: to its end, a cut, or the frame that `until` wants."""
        headers, asked = {"accept": "text/event-stream"}, {"message": message, **body}
        planted.note(asked)
        request = self._http.build_request("POST", "/invocations", headers=headers, json=asked)
        return self._read(request, until, timeout)

    def _read(self, request: httpx2.Request, until: Callable[[Frame], bool] | None, timeout: float) -> Frames:
        frames, deadline = Frames(), time.monotonic() + timeout
        request.extensions["timeout"] = httpx2.Timeout(timeout).as_dict()
        try:
            for frame in self._frames(request, frames, deadline):
                frames.append(frame)
                if until and until(frame):
                    frames.closed = "stopped"
                    return frames
        except httpx2.TimeoutException as error:
            raise AssertionError(f"the stream did not end within {timeout} s; last: {frames[-1:]}") from error
        except httpx2.TransportError:
            return frames
        frames.closed = "done" if frames and frames[-1].event == "done" else "cut"
        return frames

    def _frames(self, request: httpx2.Request, frames: Frames, deadline: float) -> Iterator[Frame]:
        response = self._http.send(request, stream=True)
        try:
            if response.status_code != 200:
                response.read()
                _ok(response)
            frames.headers = dict(response.headers)
            parser = SSEParser()
            for chunk in response.iter_bytes():
                yield from parser.feed(chunk)
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the whole reading took too long")
        finally:
            response.close()
