"""Brings an index in line with its folder: only what is new or changed is read."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from graph.documents.document import Passage, Skipped
from graph.documents.errors import UnreadableError
from graph.documents.folder import LARGEST, Found, listed
from graph.documents.index import Index, StaleIndexError, Stamp
from graph.documents.passages import passages
from graph.documents.reading import read

logger = logging.getLogger("graph.documents")

# Primary result codes of SQLite for a file that is not our database, or is one no longer.
_REBUILD = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT))


# Files seen so far, and how many there are.
Progress = Callable[[int, int], None]


def built(root: Path, place: Path | None, progress: Progress) -> tuple[Index, tuple[Skipped, ...]]:
    """The index of `root`, up to date, and the files that were passed over.

    Where the index file cannot be used at all (disk full, read-only, locked) it is built in memory instead.
    """
    if place is not None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            return _updated(_opened(place, root), root, progress)
        except (sqlite3.Error, StaleIndexError, OSError) as error:
            logger.warning("index of the documents is kept in memory: %s", error)
    return _updated(Index(":memory:", root), root, progress)


def _opened(place: Path, root: Path) -> Index:
    try:
        return Index(str(place), root)
    except (sqlite3.Error, StaleIndexError) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code not in _REBUILD:
            raise
        logger.info("index of the documents is built anew: %s", error or type(error).__doc__)
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{place}{suffix}").unlink(missing_ok=True)
    return Index(str(place), root)


def _updated(index: Index, root: Path, progress: Progress) -> tuple[Index, tuple[Skipped, ...]]:
    try:
        return index, update(index, root, progress)
    except BaseException:
        index.close()
        raise


def update(index: Index, root: Path, progress: Progress) -> tuple[Skipped, ...]:
    """Reads what is new or changed in `root`, forgets what is gone; answers the files that were passed over."""
    listing, known = listed(root), index.known()
    if gone := known.keys() - {found.path for found in listing.found}:
        index.forget(gone)
    skipped = listing.skipped
    for done, found in enumerate(listing.found):
        progress(done, len(listing.found))
        if reason := _file(index, found, known.get(found.path)):
            skipped.append(Skipped(found.path, reason))
    progress(len(listing.found), len(listing.found))
    return tuple(sorted(skipped, key=lambda skipped: skipped.path))


def warn_of(skipped: Iterable[Skipped]) -> None:
    """A line in the log for each file that was passed over."""
    for one in skipped:
        logger.warning("document skipped: %s: %s", ascii(one.path), one.reason)


def _file(index: Index, found: Found, stamp: Stamp | None) -> str | None:
    """Stores one file where it changed; answers why it could not be read, where that is so."""
    if stamp and (stamp.size, stamp.mtime_ns) == (found.size, found.mtime_ns):
        return stamp.skipped
    try:
        raw = _bytes(found.file)
    except OSError as error:
        index.forget([found.path])
        return error.strerror or "it cannot be read"
    digest = hashlib.blake2b(raw, digest_size=16).digest()
    if stamp and stamp.digest == digest:
        index.touch(found.path, found.mtime_ns)
        return stamp.skipped
    reason, content = _content(raw, found)
    index.put(found.path, Stamp(len(raw), found.mtime_ns, digest, reason), content)
    return reason


def _bytes(file: Path) -> bytes:
    """No more than `LARGEST` is read, even of a file that grew since it was listed."""
    with file.open("rb") as opened:
        return opened.read(LARGEST)


def _content(raw: bytes, found: Found) -> tuple[str | None, list[Passage]]:
    try:
        return None, list(passages(read(raw, found.path)))
    except UnreadableError as error:
        return str(error), []
