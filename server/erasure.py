"""Threads that are being erased: no turn is accepted on them meanwhile, by any host."""

from __future__ import annotations

from typing import Final

from server.accept import ThreadBusy
from server.owners import public
from server.sql import Connection

# Behind this an erasure counts as broken off: its process died, and the request is to be made again.
LAPSES_SEC: Final = 60.0


def mark_erased(connection: Connection, *, thread_id: str, now: float) -> None:
    """Begins an erasure; `now` is Unix seconds. Raises `ThreadBusy`."""
    check_not_erased(connection, thread_id, now)
    unmark_erased(connection, thread_id=thread_id)
    connection.execute("INSERT INTO erasures (thread_id, since) VALUES (?, ?)", (thread_id, now))


def unmark_erased(connection: Connection, *, thread_id: str) -> None:
    """Ends an erasure."""
    connection.execute("DELETE FROM erasures WHERE thread_id = ?", (thread_id,))


def check_not_erased(connection: Connection, thread_id: str, now: float) -> None:
    """Raises `ThreadBusy` while the thread is being erased."""
    row = connection.execute("SELECT since FROM erasures WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is not None and now - row[0] < LAPSES_SEC:
        raise ThreadBusy(f"Thread {public(thread_id)} is being erased.")
