"""Named places at which a test can make the process die or freeze. Without FAULT_POINT they do nothing."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

POINTS: Final = (
    "accept.before",
    "accept.after",
    "claim.before",
    "claim.after",
    "token.first",
    "token.middle",
    "result.before",
    "result.after",
    "checkpoint.before",
    "checkpoint.after",
    "events.before",
    "events.after",
    "terminal.before",
    "terminal.after",
    "handover",
    "rollback.before",
    "rollback.after",
    "retention.before",
    "retention.after",
)

# `checkpoint.after` or `checkpoint.after:3`: at the first, or the third, time that it is passed. `stop:` before it: the
# process freezes there, until it is sent SIGCONT.
_stops = os.environ.get("FAULT_POINT", "").startswith("stop:")
_point, _, _count = os.environ.get("FAULT_POINT", "").removeprefix("stop:").partition(":")
_passes_left = int(_count or 1)


def reach(point: str) -> None:
    """Ends the process as kill -9 would, or stops it, if a test asked for it at this point."""
    global _passes_left
    if _point != point:
        return
    _passes_left -= 1
    if _passes_left != 0:
        return
    if _stops:
        os.kill(os.getpid(), signal.SIGSTOP)
        # Another thread may take the signal, and this one run on for a moment.
        time.sleep(0.1)
    else:
        os._exit(137)
