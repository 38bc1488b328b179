"""Documents made beside the event loop: HTML, PDF and Word take seconds of Python, which the runs need as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

THREADS: Final = 2


class Makers:
    """Two at a time, and one of each key: whoever asks for many waits for his own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "maker")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def made(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns or raises, made in a thread when it is the key's turn."""
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, make)

    def close(self) -> None:
        """Begins nothing more; what is being made is of no use to anybody."""
        self._pool.shutdown(wait=False, cancel_futures=True)
