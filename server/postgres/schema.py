"""The schema of the shared database: the server's own steps, Procrastinate's, and what joins the two.

LangGraph's saver keeps the checkpoints' tables by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, resources
from typing import Any, Final

import psycopg

from server.database import DatabaseUnusable
from server.migrations import SchemaTooNew, in_postgres, steps_behind

# Held while the schema is changed; its number only has to differ from those of the threads' locks.
LOCK: Final = "pg_try_advisory_lock(1, 1)"
UNLOCK: Final = "pg_advisory_unlock(1, 1)"
PATIENCE_SEC: Final = 60.0

_JOINING: Final = (
    """
    -- Holds a claim to the transaction's end. A claim is raised under the same lock, taken alone.
    CREATE FUNCTION research_hold_claim(lock_key bigint, invocation bigint, claim bigint) RETURNS void AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(lock_key);
        PERFORM 1 FROM invocations WHERE n = invocation AND epoch = claim AND status = 'running';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'claim % of turn % is not the present one', claim, invocation USING ERRCODE = 'RA001';
        END IF;
    END $$ LANGUAGE plpgsql;

    -- Procrastinate tells its workers of new jobs. The next turn of a thread, and one that was given back, are to start
    -- at once as well, not at the next look into the table.
    CREATE FUNCTION research_wake_workers() RETURNS trigger AS $$
    BEGIN
        PERFORM pg_notify(
            'procrastinate_queue_v1#' || OLD.queue_name,
            json_build_object('type', 'job_inserted', 'job_id', OLD.id)::text
        );
        RETURN NULL;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER research_job_left AFTER UPDATE OF status ON procrastinate_jobs
        FOR EACH ROW WHEN (OLD.status = 'doing' AND NEW.status <> 'doing') EXECUTE FUNCTION research_wake_workers();
    CREATE TRIGGER research_job_done AFTER DELETE ON procrastinate_jobs
        FOR EACH ROW WHEN (OLD.status = 'doing') EXECUTE FUNCTION research_wake_workers();
    """,
    """
    -- Events are written once, read, and removed all at once: what they leave is to be usable again soon.
    ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
    -- Each commit changes the rows of the turns under way in place; room in the page keeps that out of the indexes.
    ALTER TABLE invocations SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
    """,
)


def bring_up_to_date(connection: psycopg.Connection[Any]) -> None:
    """Applies what the database lacks, one host at a time. Raises `DatabaseUnusable`."""
    try:
        with schema_lock(connection), connection.transaction():
            connection.execute(
                "CREATE TABLE IF NOT EXISTS research_schema (part text PRIMARY KEY, version text NOT NULL)"
            )
            for number, script in steps_behind(int(_version(connection, "server") or 0)):
                connection.execute(in_postgres(script).encode())
                _note(connection, "server", str(number))
            _update_procrastinate(connection)
            known = int(_version(connection, "joining") or 0)
            for number, script in enumerate(_JOINING[known:], start=known + 1):
                connection.execute(script.encode())
                _note(connection, "joining", str(number))
    except (SchemaTooNew, psycopg.Error) as error:
        raise DatabaseUnusable(f"DATABASE_URL: the database cannot be used ({error}).") from error


@contextmanager
def schema_lock(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Keeps other hosts from changing the schema. Asks again and again: an index that is built beside waits for us."""
    deadline = time.monotonic() + PATIENCE_SEC
    while not _value(connection, f"SELECT {LOCK}"):
        if time.monotonic() > deadline:
            raise DatabaseUnusable("DATABASE_URL: another server has been changing the schema for a minute.")
        time.sleep(0.1)
    try:
        yield
    finally:
        connection.execute(f"SELECT {UNLOCK}".encode())


def _update_procrastinate(connection: psycopg.Connection[Any]) -> None:
    present, packaged = _version(connection, "procrastinate"), metadata.version("procrastinate")
    if present == packaged:
        return
    files = resources.files("procrastinate") / "sql"
    if present is None:
        connection.execute((files / "schema.sql").read_bytes())
    else:
        for name in sorted(file.name for file in (files / "migrations").iterdir() if file.name.endswith(".sql")):
            if _numbers(name.partition("_")[0]) > _numbers(present):
                connection.execute((files / "migrations" / name).read_bytes())
    _note(connection, "procrastinate", packaged)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3])


def _version(connection: psycopg.Connection[Any], part: str) -> str | None:
    found = _value(connection, "SELECT version FROM research_schema WHERE part = %s", part)
    return None if found is None else str(found)


def _note(connection: psycopg.Connection[Any], part: str, version: str) -> None:
    connection.execute(
        "INSERT INTO research_schema VALUES (%s, %s) ON CONFLICT (part) DO UPDATE SET version = excluded.version",
        (part, version),
    )


def _value(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]
