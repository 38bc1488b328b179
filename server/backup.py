"""`python -m server backup`: DATA_DIR as it is at one instant, in a folder of its own, while the server runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from server.data_folder import DataFolder, take_after
from server.key_ring import KEY_FILE
from server.snapshot import copy, opened_unchanged, snapshots

MANIFEST: Final = "backup.json"
FORMAT: Final = 1


class BackupFailed(Exception):
    """There is no backup; the message says why."""


@dataclass(frozen=True)
class CopiedFile:
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Backup:
    """What a backup holds. `taken_at`: UTC, ISO 8601."""

    format: int
    taken_at: str
    files: tuple[CopiedFile, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.bytes for file in self.files)


def back_up(data_dir: Path, target: Path) -> Backup:
    """Writes a backup to `target`, a new folder, which is there as a whole or not at all. Raises `BackupFailed`."""
    folder = DataFolder(data_dir)
    if not folder.server_database.exists():
        raise BackupFailed(f"DATA_DIR: {data_dir} holds no data.")
    if target.exists():
        raise BackupFailed(f"{target} is there already: name a new folder.")
    if not target.parent.is_dir():
        raise BackupFailed(f"There is no folder {target.parent}.")
    try:
        return _written(folder, target)
    except sqlite3.Error as error:
        raise BackupFailed(f"{data_dir} could not be copied to {target} ({error}).") from error
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written ({error.strerror}).") from error


def read_backup(source: Path) -> Backup:
    """What the backup in `source` says it holds, its files not looked at. Raises `BackupFailed`."""
    try:
        found: dict[str, Any] = json.loads((source / MANIFEST).read_text("utf-8"))
        if found["format"] != FORMAT:
            raise BackupFailed(f"{source} is a backup of another format: restore it with the server that made it.")
        return Backup(found["format"], found["taken_at"], tuple(CopiedFile(**file) for file in found["files"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupFailed(f"{source} is no backup: its {MANIFEST} cannot be read.") from error


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(paths: Iterable[Path]) -> None:
    """Returns when files or folders are on disk."""
    for path in paths:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _written(folder: DataFolder, target: Path) -> Backup:
    beside = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    try:
        _check_room(folder, beside)
        taken_at = _copy_all(folder, beside)
        names = sorted(path.name for path in beside.iterdir())
        files = (CopiedFile(name, (beside / name).stat().st_size, checksum(beside / name)) for name in names)
        backup = Backup(FORMAT, taken_at.isoformat(timespec="milliseconds"), tuple(files))
        (beside / MANIFEST).write_text(json.dumps(asdict(backup), indent=2) + "\n", "utf-8")
        take_after(beside / MANIFEST, folder.server_database.stat())
        sync([*beside.iterdir(), beside])
        take_after(beside, folder.path.stat())
        beside.rename(target)
        sync([target.parent])
    except BaseException:
        shutil.rmtree(beside)
        raise
    return backup


def _copy_all(folder: DataFolder, target: Path) -> datetime:
    with snapshots(folder) as found:
        taken_at = datetime.now(UTC)
        for name, source in found.items():
            copy(source, target / name)
            take_after(target / name, (folder.path / name).stat())
    for name in found:
        _check_whole(target / name)
    # Replaced as a whole wherever it changes, so it is read as a whole.
    if (keys := folder.path / KEY_FILE).exists():
        shutil.copyfile(keys, target / KEY_FILE)
        take_after(target / KEY_FILE, keys.stat())
    return taken_at


def _check_room(folder: DataFolder, target: Path) -> None:
    """Before the copying: a disk that it fills may be the server's own."""
    databases = [path for path in (folder.server_database, folder.checkpoint_database) if path.exists()]
    wanted, free = sum(path.stat().st_size for path in databases), shutil.disk_usage(target).free
    if free < wanted:
        raise BackupFailed(f"{target.parent} has room for {free:,} bytes; some {wanted:,} are needed.")


def _check_whole(path: Path) -> None:
    try:
        with closing(opened_unchanged(path)) as written:
            found = written.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise BackupFailed(f"The copy of {path.name} is damaged, and so may be the file itself ({found}).")
