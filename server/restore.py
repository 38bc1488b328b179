"""`python -m server restore`: a backup back into an empty DATA_DIR, where a server then goes on from it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from server.backup import Backup, BackupFailed, CopiedFile, checksum, read_backup, sync
from server.data_folder import DataFolder, give_to_owner
from server.migrations import SchemaTooNew, steps_behind
from server.snapshot import opened_unchanged

_PARTIAL: Final = ".restoring"
# What an empty data folder may hold: its lock, and what a file system puts there.
_NOTHING: Final = frozenset({"lock", "lost+found"})


class RestoreRefused(Exception):
    """Nothing was restored and nothing changed; the message says why."""


def restore(data_dir: Path, source: Path) -> Backup:
    """Copies the backup in `source` into `data_dir`. Raises `RestoreRefused`, `BackupFailed`, `DataFolderUnusable`."""
    backup = read_backup(source)
    try:
        for file in backup.files:
            _check_file(source, file)
        _check_schema(source)
        if (data_dir / "lock").exists():
            # One that is in use is told from one that is merely full.
            with DataFolder(data_dir):
                pass
        _check_empty(data_dir)
        with DataFolder(data_dir) as folder:
            _copy_all(source, backup, folder)
    except OSError as error:
        raise RestoreRefused(f"{source} could not be restored to {data_dir} ({error.strerror}).") from error
    return backup


def _check_file(source: Path, file: CopiedFile) -> None:
    path = source / file.name
    if Path(file.name).name != file.name or not path.is_file():
        raise BackupFailed(f"{source} is not whole: there is no {file.name}.")
    if path.stat().st_size != file.bytes or checksum(path) != file.sha256:
        raise BackupFailed(f"{path} is damaged: it is not what was backed up.")


def _check_schema(source: Path) -> None:
    try:
        with closing(opened_unchanged(DataFolder(source).server_database)) as database:
            steps_behind(database.execute("PRAGMA user_version").fetchone()[0])
    except (SchemaTooNew, sqlite3.Error) as error:
        raise RestoreRefused(f"{source} cannot be restored ({error}).") from error


def _check_empty(data_dir: Path) -> None:
    there = {path.name for path in data_dir.iterdir()} if data_dir.exists() else set()
    if any(name not in _NOTHING and not name.endswith(_PARTIAL) for name in there):
        raise RestoreRefused(f"DATA_DIR: {data_dir} is not empty: name another, or move away what it holds.")


def _copy_all(source: Path, backup: Backup, folder: DataFolder) -> None:
    copied, owner = [], folder.path.stat()
    for file in backup.files:
        written = folder.path / f"{file.name}{_PARTIAL}"
        shutil.copyfile(source / file.name, written)
        shutil.copymode(source / file.name, written)
        give_to_owner(written, owner)
        copied.append(written)
    sync(copied)
    # The events come last: without them a server finds nothing to go on with.
    for written in sorted(copied, key=lambda path: path.name.startswith(folder.server_database.name)):
        written.rename(written.with_name(written.name.removesuffix(_PARTIAL)))
    sync([folder.path])
