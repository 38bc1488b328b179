"""The schema of the server's own database, as numbered steps that are each applied once, on either engine."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

_MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE invocations (
        n                  INTEGER PRIMARY KEY AUTOINCREMENT,
        id                 TEXT NOT NULL UNIQUE,
        idempotency_key    TEXT UNIQUE,
        thread_id          TEXT NOT NULL,
        turn               INTEGER NOT NULL,
        status             TEXT NOT NULL,
        message            TEXT NOT NULL,
        topic              TEXT NOT NULL,
        prior_topic        TEXT,
        steering           TEXT NOT NULL,
        multitask_strategy TEXT NOT NULL,
        config             TEXT NOT NULL,
        metadata           TEXT NOT NULL,
        created_at         REAL NOT NULL,
        started_at         REAL,
        ended_at           REAL,
        epoch              INTEGER NOT NULL DEFAULT 0,
        last_event_id      INTEGER NOT NULL DEFAULT 0,
        phases_completed   INTEGER NOT NULL DEFAULT 0,
        total_phases       INTEGER NOT NULL,
        input_tokens       INTEGER NOT NULL DEFAULT 0,
        output_tokens      INTEGER NOT NULL DEFAULT 0,
        error              TEXT,
        superseded_by      TEXT,
        resumes            TEXT,
        wish               INTEGER NOT NULL DEFAULT 0,
        has_report         INTEGER NOT NULL DEFAULT 0,
        put_back           INTEGER NOT NULL DEFAULT 0,
        -- 0: kept; 1: being removed; 2: gone
        events_removed     INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX invocations_of_thread ON invocations (thread_id, n);
    CREATE INDEX invocations_by_status ON invocations (status, n);
    CREATE INDEX invocations_to_clean ON invocations (ended_at) WHERE events_removed = 0 AND ended_at IS NOT NULL;
    CREATE INDEX invocations_half_cleaned ON invocations (n) WHERE events_removed = 1;
    CREATE TABLE reports (
        n        INTEGER PRIMARY KEY REFERENCES invocations (n),
        markdown TEXT NOT NULL
    );
    CREATE TABLE events (
        n    INTEGER NOT NULL,
        seq  INTEGER NOT NULL,
        key  TEXT,
        data BLOB NOT NULL,
        PRIMARY KEY (n, seq)
    ) WITHOUT ROWID;
    CREATE TABLE probe (passed INTEGER NOT NULL);
    INSERT INTO probe VALUES (0);
    CREATE UNIQUE INDEX events_once ON events (n, key) WHERE key IS NOT NULL;
    """,
    """
    -- The report as JSON; null for one that an earlier version wrote.
    ALTER TABLE reports ADD COLUMN document TEXT;
    CREATE TABLE spent (
        n             INTEGER NOT NULL REFERENCES invocations (n),
        phase         INTEGER NOT NULL,
        role          TEXT NOT NULL,
        model         TEXT NOT NULL,
        calls         INTEGER NOT NULL,
        input_tokens  INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        PRIMARY KEY (n, phase, role, model)
    );
    """,
    """
    -- since: Unix seconds
    CREATE TABLE erasures (
        thread_id TEXT PRIMARY KEY,
        since     REAL NOT NULL
    );
    """,
    """
    -- The name of the API key whose it is; '' where it was made without.
    ALTER TABLE invocations ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    CREATE INDEX invocations_of_owner ON invocations (owner, n);
    """,
    """
    -- Of the keys that seal values here, oldest first; 'none': values are kept as they are; '': nobody has started.
    CREATE TABLE sealing (fingerprints TEXT NOT NULL);
    INSERT INTO sealing SELECT CASE WHEN EXISTS (SELECT 1 FROM invocations) THEN 'none' ELSE '' END;
    """,
    """
    -- digest: of name and content; read_by: the version of what read it; packed: its passages.
    CREATE TABLE documents (
        n          INTEGER PRIMARY KEY AUTOINCREMENT,
        id         TEXT NOT NULL UNIQUE,
        owner      TEXT NOT NULL,
        name       TEXT NOT NULL,
        digest     TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        created_at REAL NOT NULL,
        content    BLOB NOT NULL,
        read_by    INTEGER NOT NULL,
        passages   INTEGER NOT NULL,
        packed     BLOB NOT NULL,
        UNIQUE (owner, digest)
    );
    CREATE INDEX invocations_of_owner_by_status ON invocations (owner, status, n);
    """,
)

# How the steps, which are written for SQLite, are said in PostgreSQL. Keys are compared byte by byte there too.
_IN_POSTGRES: Final = (
    (r"INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"\) WITHOUT ROWID", ")"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
)


class SchemaTooNew(Exception):
    """The database was written by a newer version of the server."""


def migrate_sqlite(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date; each step is one transaction. Raises `SchemaTooNew`."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in steps_behind(version):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def steps_behind(version: int) -> list[tuple[int, str]]:
    """The steps that a database of schema `version` lacks, each with its number. Raises `SchemaTooNew`."""
    if version > len(_MIGRATIONS):
        raise SchemaTooNew(
            f"The database has schema {version}, this server knows {len(_MIGRATIONS)}: start the newer server."
        )
    return list(enumerate(_MIGRATIONS[version:], start=version + 1))


def in_postgres(script: str) -> str:
    """A step in the words of PostgreSQL."""
    for pattern, replacement in _IN_POSTGRES:
        script = re.sub(pattern, replacement, script)
    return script
