"""What `research doctor` asks about the database: `python -m server.database_check` changes nothing in it.

One line: how it stands, with exit code 0, or what is wrong with it, with 1.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from server.migrations import SchemaTooNew, steps_behind
from server.settings import SettingsInvalid, read_settings

if TYPE_CHECKING:
    from pathlib import Path


class DatabaseWrong(Exception):
    """The server cannot use it; the message says why."""


def state_of_file(folder: Path) -> str:
    """How the database in DATA_DIR stands. Raises `DatabaseWrong`, `SchemaTooNew`."""
    path = folder / "server.sqlite"
    if not path.exists():
        return "SQLite, made at the first start"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            (damage,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise DatabaseWrong(f"{path} cannot be read ({error})") from error
    if damage != "ok":
        raise DatabaseWrong(f"{path} is damaged ({damage})")
    return f"SQLite, {_schema(version)}"


def state_of_postgres(url: str) -> str:
    """How the shared database stands. Raises `DatabaseWrong`, `SchemaTooNew`."""
    import psycopg

    from server.postgres.connection import reason

    try:
        with psycopg.connect(url, connect_timeout=5) as database:
            made = database.execute("SELECT to_regclass('research_schema') IS NOT NULL").fetchone()
            if made is None or not made[0]:
                return "PostgreSQL answers; its tables are made at the first start"
            row = database.execute("SELECT version FROM research_schema WHERE part = 'server'").fetchone()
    except psycopg.Error as error:
        raise DatabaseWrong(f"PostgreSQL does not answer ({reason(error)})") from error
    return f"PostgreSQL answers, {_schema(int(row[0]) if row else 0)}"


def _schema(version: int) -> str:
    behind = len(steps_behind(version))
    return f"schema {version}" + (f", brought up to {version + behind} at the next start" if behind else "")


def main() -> int:
    """Looks at the database that the environment names."""
    try:
        settings = read_settings()
        url = settings.database_url
        print(state_of_file(settings.data_dir) if url is None else state_of_postgres(url.get_secret_value()))  # noqa: T201
    except (SettingsInvalid, DatabaseWrong, SchemaTooNew) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
