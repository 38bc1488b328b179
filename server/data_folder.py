"""The folder that holds everything, and the lock that keeps a second process out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class DataFolderUnusable(Exception):
    """DATA_DIR cannot be used; the message says why."""


class DataFolder:
    """DATA_DIR, created if it is missing and locked while the context is open. Raises `DataFolderUnusable`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataFolderUnusable(f"DATA_DIR: {self.path} cannot be written ({error.strerror}).") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise DataFolderUnusable(
                f"DATA_DIR: {self.path} is in use by another server (process {holder}): stop it, or name another."
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)

    @property
    def server_database(self) -> Path:
        """The SQLite file of invocations and events."""
        return self.path / "server.sqlite"

    @property
    def checkpoint_database(self) -> Path:
        """The SQLite file of LangGraph's checkpoints."""
        return self.path / "checkpoints.sqlite"

    @property
    def document_index(self) -> Path:
        """The SQLite file of the documents' full-text index; a cache."""
        return self.path / "documents.sqlite"


def take_after(path: Path, model: os.stat_result) -> None:
    """Gives a file or folder the permissions of another, and where we may also its owner."""
    path.chmod(model.st_mode & 0o7777)
    give_to_owner(path, model)


def give_to_owner(path: Path, model: os.stat_result) -> None:
    """Gives a file or folder to the owner of another where we may: root's commands must not shut the server out."""
    if os.geteuid() == 0:
        os.chown(path, model.st_uid, model.st_gid)
