"""The files of a folder that can be read as documents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graph.documents.cleaning import one_line
from graph.documents.document import Skipped
from graph.documents.errors import DocumentsError
from graph.documents.reading import KINDS

LARGEST = 50_000_000  # bytes of one file


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read. `path` is relative to the folder, with `/`; `mtime_ns` in nanoseconds since 1970."""

    path: str
    file: Path
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """What a walk through the folder brought, in the order of paths."""

    found: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def checked(folder: Path) -> Path:
    """The real path of `folder`.

    Raises:
        DocumentsError: it is missing, not a folder, or may not be read.
    """
    try:
        root = folder.resolve(strict=True)
        with os.scandir(root):
            return root
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        said = f"{one_line(str(folder), 400)} ({reason or 'not a path'})"
        raise DocumentsError(f"DOCUMENTS_DIR names a folder that cannot be read: {said}.") from error


def listed(root: Path) -> Listing:
    """Every document below `root`. Hidden files and folders are passed over in silence, others with a reason."""
    listing = Listing()
    for file in _files(root, listing):
        path = file.relative_to(root).as_posix()
        try:
            listing.found.append(_found(root, file, path))
        except OSError as error:
            listing.skipped.append(Skipped(one_line(path, 400), error.strerror or "it cannot be read"))
    listing.found.sort(key=lambda found: found.path)
    return listing


def _files(root: Path, listing: Listing) -> Iterator[Path]:
    """Links to folders are not followed (no loops); links to files are, as a mounted ConfigMap consists of them."""

    def unreadable(error: OSError) -> None:
        path = os.path.relpath(error.filename or root, root)
        listing.skipped.append(Skipped(one_line(path, 400), error.strerror or "it cannot be read"))

    for parent, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in KINDS:
                yield Path(parent, name)


def _found(root: Path, file: Path, path: str) -> Found:
    real = file.resolve(strict=True)
    status = real.stat()
    if not real.is_relative_to(root):
        raise OSError(0, "it is a link that leaves the folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is not an ordinary file")
    if status.st_size > LARGEST:
        raise OSError(0, f"it is over {LARGEST // 1_000_000} MB")
    if path != path.encode(errors="replace").decode():
        raise OSError(0, "its name is not UTF-8")
    return Found(path, real, status.st_size, status.st_mtime_ns)
