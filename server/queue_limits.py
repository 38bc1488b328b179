"""How many turns may wait: on a thread, on the server, of a key. For within the transaction that stores a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.owners import owner_of, public
from server.sql import Connection

MAX_WAITING_ON_THREAD: Final = 10
MAX_QUEUED: Final = 10_000


class QueueFull(Exception):
    """Too many turns wait; `limit` says where."""

    def __init__(self, limit: Literal["thread", "server", "key_turns"], message: str) -> None:
        super().__init__(message)
        self.limit = limit


@dataclass(frozen=True)
class Room:
    """Where a new turn comes: the server runs `limit` turns at once.

    Of the turns on its thread `staying` go on waiting before it, and `ending` end because it comes.
    """

    limit: int
    staying: int = 0
    ending: int = 0


def check_room(connection: Connection, thread_id: str, room: Room, *, max_unfinished: int | None) -> bool:
    """Whether the server is full, so that a new turn has to wait. Raises `QueueFull`.

    `max_unfinished` is the limit of the thread's key. Turns that end for the new one do not count against it: who has
    one turn may steer it.
    """
    if room.staying >= MAX_WAITING_ON_THREAD:
        raise QueueFull("thread", f"{MAX_WAITING_ON_THREAD} turns wait on thread {public(thread_id)} already.")
    if max_unfinished is not None:
        _check_key(connection, owner_of(thread_id), room.ending, max_unfinished)
    count = "SELECT status, count(*) FROM invocations WHERE status IN ('queued', 'running') GROUP BY status"
    unfinished = {row[0]: int(row[1]) for row in connection.execute(count)}
    if unfinished.get("queued", 0) >= MAX_QUEUED:
        raise QueueFull("server", f"{MAX_QUEUED} turns wait on this server already.")
    return sum(unfinished.values()) >= room.limit


def _check_key(connection: Connection, owner: str, ending: int, max_unfinished: int) -> None:
    count = "SELECT count(*) AS turns FROM invocations WHERE status IN ('queued', 'running') AND owner = ?"
    row = connection.execute(count, (owner,)).fetchone()
    if row is not None and int(row[0]) - ending >= max_unfinished:
        raise QueueFull("key_turns", f"This key may have {max_unfinished} unfinished turns, and has them.")
