"""What a process holds of its machine, as /proc tells it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def resident_kb(pid: int) -> int:
    """The resident memory of a process, in kB."""
    return _status(pid, "VmRSS")


def threads(pid: int) -> int:
    """How many threads a process has."""
    return _status(pid, "Threads")


def open_files(pid: int) -> int:
    """How many file handles a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_sockets(pid: int) -> int:
    """How many of its file handles are sockets."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return count


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file in a folder."""
    sizes = {}
    for path in folder.iterdir():
        # SQLite's own come and go.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                sizes[path.name] = path.stat().st_size
    return sizes


def _status(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")))
