"""The newest frames of an invocation in memory, and who waits for more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from server.event_rows import Written
    from server.status import Status

RING_FRAMES: Final = 1024
# A wake costs some 50 µs a reader: resting four times as long leaves most of the time to the runs, however many read.
REST_SEC_A_READER: Final = 0.0002
LONGEST_REST_SEC: Final = 0.1


class LiveStream:
    """The newest frames of one invocation in memory, for the readers that keep up. Lives while anybody uses it.

    `last` is the highest number that was shown, 0 where none was.
    `shown_at`: since when, in `perf_counter` seconds, there is something that waiting readers have not been woken for.
    """

    def __init__(self, *, closed: bool = False) -> None:
        self.status: Status | None = None
        self.closed = closed
        self.users = 0
        self.last = 0
        self._frames: list[bytes] = []
        self._forgotten = False
        self._changed = asyncio.Event()
        self._woken_at = 0.0
        self.shown_at = 0.0
        self._waking: asyncio.TimerHandle | None = None

    def since(self, position: int) -> list[bytes] | None:
        """The frames behind number `position`, which the reader has up to; None where some are not in memory."""
        behind = self.last - position
        # Forgotten before its end was seen: only the disk can tell.
        if behind > len(self._frames) or (self._forgotten and self.status is None):
            return None
        return self._frames[-behind:] if behind > 0 else []

    def show(self, written: Written) -> None:
        """Takes in what is on disk now; what it has, or lacks the frames before, changes nothing."""
        new = written.last - self.last
        if new > len(written.frames):
            self._frames.clear()
        self._frames.extend(written.frames[-new:] if new > 0 else [])
        self.last = max(self.last, written.last)
        if len(self._frames) > 2 * RING_FRAMES:
            del self._frames[:-RING_FRAMES]
        self.status = written.status or self.status
        self._wake_in_turn()

    def close(self) -> None:
        """Lets the readers go, to read on from the next process."""
        self.closed = True
        self._wake()

    def forget(self) -> None:
        """Drops what is in memory: readers go to the disk, and learn there that the events are gone."""
        self._frames.clear()
        self._forgotten = True
        self._wake()

    def _wake_in_turn(self) -> None:
        """Wakes the readers at once, or when they have rested from the last time: many frames then go in one write."""
        if self._waking is not None:
            return
        self.shown_at = time.perf_counter()
        loop = asyncio.get_running_loop()
        rest = self._woken_at + min(LONGEST_REST_SEC, self.users * REST_SEC_A_READER) - loop.time()
        if rest <= 0:
            self._wake()
        else:
            self._waking = loop.call_later(rest, self._wake)

    def _wake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        self._woken_at = asyncio.get_running_loop().time()
        self._changed.set()
        self._changed = asyncio.Event()

    def watch(self) -> asyncio.Event:
        """An event that is set by the next `show`; to be taken before looking at what is there."""
        return self._changed
