"""A reader that comes back after every cut, as a browser's EventSource does, while a test kills servers."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import httpx2

from tests.acceptance.client import Frame, Frames, ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import BrokenPromise, check_same


class SteadyReader:
    """Reads one invocation's stream in a thread of its own; `frames` are the numbered ones, in the order they came.

    After a cut it comes back to the next one of its servers.
    """

    def __init__(self, server: ServerProcess, invocation_id: str, *others: ServerProcess) -> None:
        self.invocation_id = invocation_id
        self.frames = Frames()
        self.cuts = 0
        self.seen_at: list[float] = []  # monotonic seconds, one for each frame
        self._urls = [server.url, *(other.url for other in others)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()

    @property
    def reading(self) -> bool:
        """Whether the stream is not over."""
        return self._thread.is_alive()

    def wait(self, timeout: float = 60) -> Frames:
        """What it read, once the stream is over; after `timeout` s, AssertionError."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.invocation_id} has not ended: {self.frames[-1:]}"
        return self.frames

    def check(self, whole: Frames) -> None:
        """It saw each number of the `whole` stream once, with the same bytes. Raises `BrokenPromise`."""
        check_same(whole, self.frames)
        numbers = [frame.id for frame in self.frames]
        if numbers != [frame.id for frame in whole if frame.id]:
            raise BrokenPromise("E1", len(numbers), f"a reader that always came back saw the numbers {numbers}")

    def _read_on(self) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(ResearchClient(url)) for url in self._urls]
            while not self._stopped.is_set():
                client = clients[self.cuts % len(clients)]
                try:
                    read = client.read_stream(self.invocation_id, self.frames.last_id, self._take, timeout=600)
                except httpx2.HTTPStatusError as error:
                    if error.response.status_code < 500:
                        raise
                    read = Frames()
                if read.closed != "cut":
                    self.frames.closed = read.closed
                    return
                self.cuts += 1
                time.sleep(0.02)

    def _take(self, frame: Frame) -> bool:
        if frame.id:
            self.frames.append(frame)
            self.seen_at.append(time.monotonic())
        return self._stopped.is_set()
