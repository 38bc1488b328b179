"""How many connections a process may hold: each takes one of the file descriptors that the system gives it."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from server.settings import Settings

# Of itself the process takes no more: beyond that the memory of sockets counts for more. What it is given, it uses.
WANTED: Final = 16_384
# Databases, logs, readers of documents, searches; and for each run its model call and what it searches.
KEPT: Final = 128
KEPT_A_RUN: Final = 4


def take_descriptors() -> None:
    """Raises this process's own limit as far as it may; nothing here uses `select`, which the low default is for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems allow less than they say.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(settings: Settings) -> int:
    """How many connections of clients leave enough for everything else; where there is not enough for both, half."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = WANTED if soft == resource.RLIM_INFINITY else soft
    runs = 0 if settings.role == "api" else settings.max_concurrent_runs
    return max(limit // 2, limit - KEPT - KEPT_A_RUN * runs)
