"""Gives memory that is free back to the system: glibc keeps what bursts of runs leave between what is still used."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Final

EACH_SEC: Final = 60.0


def give_memory_back() -> None:
    """Does so from time to time, in a thread that ends with the process; nothing where the C library has no way to."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return

    def keep_on() -> None:
        while True:
            time.sleep(EACH_SEC)
            trim(0)

    threading.Thread(target=keep_on, name="memory", daemon=True).start()
