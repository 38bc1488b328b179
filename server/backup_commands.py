"""The commands `backup` and `restore` of `python -m server`: what they take and what they say."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from server.backup import BackupFailed, back_up
from server.data_folder import DataFolderUnusable
from server.restore import RestoreRefused, restore
from server.settings import Settings


def main(command: str, arguments: Sequence[str], settings: Settings) -> int:
    """Does `backup` or `restore`; the exit code is 0, or 2 with a sentence on stderr."""
    asked = _parser(command).parse_args(arguments)
    began = time.monotonic()
    try:
        if settings.database_url is not None:
            raise BackupFailed(
                "DATABASE_URL: PostgreSQL is backed up by pg_dump (docs/operate.md), not by this command."
            )
        done = (back_up if command == "backup" else restore)(settings.data_dir, asked.folder)
    except (BackupFailed, RestoreRefused, DataFolderUnusable) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    size, took = f"{done.size / 1e6:,.1f} MB", f"{time.monotonic() - began:.1f} s"
    print(f"{command} of {done.taken_at}: {size}, in {took}.", file=sys.stderr)  # noqa: T201
    print(asked.folder if command == "backup" else settings.data_dir)  # noqa: T201
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m server {command}")
    if command == "backup":
        parser.description = "Copies what DATA_DIR holds at one instant; the server may run meanwhile."
        parser.add_argument("folder", metavar="TARGET", type=Path, help="a new folder")
    else:
        parser.description = "Copies a backup into DATA_DIR, which must be empty and not in use."
        parser.add_argument("folder", metavar="SOURCE", type=Path, help="a folder that `backup` made")
    return parser
