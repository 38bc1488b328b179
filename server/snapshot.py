"""Both SQLite files as they are at one instant, while a server writes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from server.data_folder import DataFolder

# The server's writer commits every few milliseconds: its lock is had soon, but not at once.
LOCK_SEC: Final = 30.0
# How long the server may be held up for the sake of a shorter log.
TRUNCATE_MS: Final = 50
# So often Ctrl-C is looked for.
STEP_PAGES: Final = 2000


@contextmanager
def snapshots(folder: DataFolder) -> Iterator[dict[str, sqlite3.Connection]]:
    """A connection to each database, by the name of its file, which reads on what was there at one instant.

    While we have the writer's lock of the events, nothing is added to them, so they are as they are when the
    checkpoints' reading begins: both together are what a kill at that instant leaves, which recovery knows how to go on
    from. Readers hold nobody up, so the lock goes again before anything is copied. Raises `sqlite3.Error`.
    """
    with ExitStack() as stack:
        events = stack.enter_context(closing(_connected(folder.server_database)))
        with closing(_connected(folder.server_database)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            found = {folder.server_database.name: events}
            if folder.checkpoint_database.exists():
                checkpoints = stack.enter_context(closing(_connected(folder.checkpoint_database)))
                found[folder.checkpoint_database.name] = checkpoints
            for connection in found.values():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            lock.execute("ROLLBACK")
        yield found
        for connection in found.values():
            connection.execute("COMMIT")
        _shorten_logs(list(found.values()))


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Writes what `source` sees to a new file. As it is within a transaction, others' writes do not begin it anew.

    Raises `sqlite3.Error`.
    """
    with closing(sqlite3.connect(target, isolation_level=None)) as written:
        # Whoever wants it synced does that once, at the end; and half a copy is thrown away, not rolled back.
        written.execute("PRAGMA synchronous = OFF")
        written.execute("PRAGMA journal_mode = OFF")
        source.backup(written, pages=STEP_PAGES, progress=lambda *_: None)


def opened_unchanged(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody writes, which leaves no file beside it. Raises `sqlite3.Error`."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCK_SEC, isolation_level=None
    )
    # The first use reads the log's index, which may take a while: not under the lock.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _shorten_logs(connections: Sequence[sqlite3.Connection]) -> None:
    """The write-ahead logs grew while we read. Best effort: the server does the same by and by."""
    for connection in connections:
        connection.execute(f"PRAGMA busy_timeout = {TRUNCATE_MS}")
        # Passive first: it holds no writer up, and leaves little to do for the second, which does.
        for mode in ("PASSIVE", "TRUNCATE"):
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
