"""The report as a file, and the folders that must be there before a run is worth starting."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from datetime import date
from pathlib import Path

from client.cli.errors import FolderUnusable

_MOST_SLUG_BYTES = 80


def report_path(reports: Path, topic: str, invocation_id: str, today: date) -> Path:
    """`<date>-<slug of the topic>-<last 6 of the invocation>.md`"""
    tail = re.sub(r"[^A-Za-z0-9_-]", "", invocation_id)[-6:]
    return reports / f"{today.isoformat()}-{slug(topic)}-{tail}.md"


def slug(topic: str) -> str:
    """Letters and digits of any script with single hyphens between, short enough for every file system."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", topic).lower())
    short = "-".join(words).encode()[:_MOST_SLUG_BYTES].decode(errors="ignore")
    return short.strip("-") or "research"


def write_report(path: Path, report: bytes) -> None:
    """All of it or nothing: whoever looks sees the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(report)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_writable(folder: Path, what: str) -> None:
    """Makes the folder where it is missing. Raises `FolderUnusable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Tried rather than asked: a permission bit says nothing about a read-only or full disk.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderUnusable(f"The {what} folder {folder} cannot be written: {error.strerror}.") from error


def check_readable(folder: Path, what: str) -> None:
    """Raises `FolderUnusable`."""
    if not folder.is_dir():
        raise FolderUnusable(f"The {what} folder {folder} does not exist.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise FolderUnusable(f"The {what} folder {folder} cannot be read.")
