"""How many connections a process may hold: each takes one of the file descriptors that the system gives it."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

# Beyond that the memory of sockets counts for more.
ENOUGH: Final = 16_384
# Databases, logs, readers of documents, searches; and for each run its model call and what it searches.
KEPT: Final = 128
KEPT_A_RUN: Final = 4
FEWEST: Final = 32


def take_descriptors() -> None:
    """Raises this process's own limit as far as it may; nothing here uses `select`, which the low default is for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems allow less than they say.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(max_concurrent_runs: int) -> int:
    """How many connections of clients leave enough for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = ENOUGH if soft == resource.RLIM_INFINITY else min(soft, ENOUGH)
    return max(FEWEST, limit - KEPT - KEPT_A_RUN * max_concurrent_runs)
