"""The last run that the command dealt with, so that the next command need not name it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from client.fields import raw


@dataclass(frozen=True)
class Last:
    """A run, and where its server is found: at an address, or over a data folder of this machine."""

    invocation_id: str = ""
    thread_id: str = ""
    server: str = ""
    data: str = ""
    documents: str = ""


class Memory:
    """One small file in the user's state folder (XDG_STATE_HOME)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home(), ".local", "state")
        self._file = Path(state, "research", "last.json")

    def load(self) -> Last:
        """What is remembered; empty where nothing is, or where it cannot be read any more."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Last()
        if not isinstance(found, dict):
            return Last()
        return Last(**{name: raw(found, name) for name in asdict(Last())})

    def save(self, last: Last) -> None:
        """All of it or nothing. Raises `OSError`."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        part.write_text(json.dumps(asdict(last)), encoding="utf-8")
        part.replace(self._file)
