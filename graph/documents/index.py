"""The searchable index of one folder: SQLite FTS5 with BM25. Only a cache, so a doubtful one is built anew."""

from __future__ import annotations

import re
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graph.documents.cleaning import CJK
from graph.documents.document import Passage

VERSION = 1  # of the tables, and of how files are read and cut

_SCHEMA = """
CREATE TABLE folder (path TEXT NOT NULL);
CREATE TABLE file (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest BLOB NOT NULL, skipped TEXT
);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES file ON DELETE CASCADE, position INTEGER NOT NULL,
    title TEXT NOT NULL, place TEXT NOT NULL, anchor TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX passage_of_file ON passage (file);
CREATE VIRTUAL TABLE word USING fts5 (
    title, place, text, content = 'passage', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER passage_added AFTER INSERT ON passage BEGIN
    INSERT INTO word (rowid, title, place, text) VALUES (new.id, new.title, new.place, new.text);
END;
CREATE TRIGGER passage_removed AFTER DELETE ON passage BEGIN
    INSERT INTO word (word, rowid, title, place, text)
    VALUES ('delete', old.id, old.title, old.place, old.text);
END;
"""

# A heading says more of its passage than the title does, which all passages of a document share.
# MATERIALIZED: bm25() works only where the full-text table is read, not behind a window function.
_SEARCH = """
WITH hit AS MATERIALIZED (
    SELECT rowid AS id, bm25(word, 2.0, 4.0, 1.0) AS score FROM word WHERE word MATCH :query
), ranked AS (
    SELECT passage.id, score, path, position,
        row_number() OVER (PARTITION BY file ORDER BY score, position) > :of_one_file AS surplus
    FROM hit JOIN passage USING (id) JOIN file ON file.id = passage.file
), chosen AS (SELECT * FROM ranked ORDER BY surplus, score, path, position LIMIT :k)
SELECT chosen.path, title, place, anchor, text FROM chosen JOIN passage USING (id)
ORDER BY score, chosen.path, chosen.position
"""

_BORDER = "\u200b"  # unicode61 splits at it; cleaned text has none of its own
_AFTER_CJK = re.compile(rf"(?<=[{CJK}])(?=\w)|(?<=\w)(?=[{CJK}])")


class StaleIndexError(Exception):
    """The index is of another version or another folder."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What was known of a file when it was read; `skipped` is the reason where it could not be."""

    size: int
    mtime_ns: int
    digest: bytes
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, and the path of its file relative to the folder."""

    path: str
    passage: Passage


class Index:
    """One connection, one lock: safe to use from any thread. `place` is a path, or `:memory:`.

    Raises:
        StaleIndexError: it was made for another folder or by another version.
        sqlite3.Error: the file is no database, damaged, locked, or cannot be written.
    """

    def __init__(self, place: str, folder: Path) -> None:
        self._lock = threading.RLock()
        self._place = place
        self._db = sqlite3.connect(place, timeout=30, isolation_level=None, check_same_thread=False)
        # In a notebook nobody closes a retriever; Python 3.13 warns of a connection that is dropped open.
        weakref.finalize(self, self._db.close)
        try:
            self._prepare(str(folder))
        except BaseException:
            self._db.close()
            raise

    def known(self) -> dict[str, Stamp]:
        """Every file of the index, by its path."""
        with self._lock:
            rows = self._db.execute("SELECT path, size, mtime_ns, digest, skipped FROM file").fetchall()
        return {path: Stamp(*stamp) for path, *stamp in rows}

    def put(self, path: str, stamp: Stamp, passages: Iterable[Passage] = ()) -> None:
        """Stores a file in place of what was known of it."""
        row = (path, stamp.size, stamp.mtime_ns, stamp.digest, stamp.skipped)
        with self._transaction() as db:
            db.execute("DELETE FROM file WHERE path = ?", (path,))
            file = db.execute(
                "INSERT INTO file (path, size, mtime_ns, digest, skipped) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            db.executemany(
                "INSERT INTO passage (file, position, title, place, anchor, text) VALUES (?, ?, ?, ?, ?, ?)",
                ((file, n, _split(p.title), _split(p.place), p.anchor, _split(p.text)) for n, p in enumerate(passages)),
            )

    def touch(self, path: str, mtime_ns: int) -> None:
        """Notes a new time of a file whose content is the same."""
        with self._transaction() as db:
            db.execute("UPDATE file SET mtime_ns = ? WHERE path = ?", (mtime_ns, path))

    def forget(self, paths: Iterable[str]) -> None:
        """Removes files and their passages."""
        with self._transaction() as db:
            db.executemany("DELETE FROM file WHERE path = ?", ((path,) for path in paths))

    def search(self, query: str, k: int, of_one_file: int) -> list[Hit]:
        """The best `k` passages for a `match_query`, best first; more than `of_one_file` only for want of others."""
        parameters = {"query": query, "k": k, "of_one_file": of_one_file}
        with self._lock:
            rows = self._db.execute(_SEARCH, parameters).fetchall()
        return [Hit(path, Passage(*map(_whole, passage))) for path, *passage in rows]

    def close(self) -> None:
        """Closes the file; closing again does nothing."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:  # `with` on a connection commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def _prepare(self, folder: str) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        # Without a sync at each commit a power cut may lose the latest files, which are then read again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if self._place == ":memory:":
            # Else a large sort would go by a file.
            self._db.execute("PRAGMA temp_store = MEMORY")
        with self._transaction() as db:
            if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
                self._create(folder)
            elif not self._is_current(folder):
                raise StaleIndexError
        self._check()

    def _is_current(self, folder: str) -> bool:
        version = self._db.execute("PRAGMA user_version").fetchone()
        return version == (VERSION,) and self._db.execute("SELECT path FROM folder").fetchall() == [(folder,)]

    def _create(self, folder: str) -> None:
        for statement in _statements(_SCHEMA):
            self._db.execute(statement)
        self._db.execute("INSERT INTO folder (path) VALUES (?)", (folder,))
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _check(self) -> None:
        if self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StaleIndexError
        self._db.execute("INSERT INTO word (word) VALUES ('integrity-check')")


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit the open transaction, so each statement is run by itself."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _split(text: str) -> str:
    return _AFTER_CJK.sub(_BORDER, text)


def _whole(text: str) -> str:
    return text.replace(_BORDER, "")
