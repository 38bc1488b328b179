"""The embedded server: one of the command's own over a data folder, and its coming back after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from client.cli.errors import ServerDidNotStart, ServerKeepsEnding
from client.cli.probe import answers
from client.cli.server_process import ServerProcess

MOST_RESTARTS = 5

# The offline model needs no rest; a provider is paced by the server's own defaults. What the user has set, stays.
_SHORT_COOLDOWNS = {"INTRA_PHASE_COOLDOWN_SEC": "0.1", "INTER_PHASE_COOLDOWN_SEC": "0.3"}


def server_environment(data: Path, documents: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: the user's, and what it lacks. An empty variable is as good as none."""
    offline = (environ.get("RESEARCH_MODEL") or "offline") == "offline"
    preferred = {"LOG_LEVEL": "warning", **(_SHORT_COOLDOWNS if offline else {})}
    lacking = {name: value for name, value in preferred.items() if not environ.get(name)}
    env = {**environ, **lacking, "DATA_DIR": str(data.resolve())}
    if documents is not None:
        env["DOCUMENTS_DIR"] = str(documents.resolve())
    return env


class Embedded:
    """The server of a data folder: its own process, or that of another `research` which stands in the folder already.

    `pause` is how a client waits for it: a process that has ended is started again, at most five times.
    """

    def __init__(
        self, data: Path, documents: Path | None, environ: Mapping[str, str], tell: Callable[[str], object]
    ) -> None:
        self._data = data
        self._env = server_environment(data, documents, environ)
        self._tell = tell
        self._restarts = 0
        self._address = data / "embedded.url"
        self._process: ServerProcess | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.url = running_at(self._data) or self._start(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._address.unlink(missing_ok=True)
            self._process.stop()

    @property
    def owned(self) -> bool:
        """Whether the server ends with this command."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The process id of a server of one's own."""
        return self._process.pid if self._process else None

    def pause(self, seconds: float) -> None:
        """Waits so long; starts the server where it has ended. Raises `ServerKeepsEnding`."""
        if self._process is None:
            time.sleep(seconds)
            self._take_over()
        elif self._process.ended_within(seconds):
            while not self._start_again(self._process):
                pass

    def _start(self, port: int | None) -> str:
        process = ServerProcess(self._env, self._data / "server.log", port=port)
        process.start()
        self._process = process
        self._address.write_text(process.url, encoding="utf-8")
        return process.url

    def _take_over(self) -> None:
        """The `research` that this server belonged to may have ended it; while it still runs, the folder is locked."""
        if not answers(self.url):
            with contextlib.suppress(ServerDidNotStart):
                self._start(urlsplit(self.url).port)

    def _start_again(self, process: ServerProcess) -> bool:
        if self._restarts == MOST_RESTARTS:
            raise ServerKeepsEnding(f"The server ended {MOST_RESTARTS + 1} times; its log says more.")
        self._restarts += 1
        self._tell(f"The server ended; starting it again ({self._restarts} of {MOST_RESTARTS}).")
        try:
            process.start()
        except ServerDidNotStart as error:
            self._tell(str(error))
            return False
        return True


def running_at(data: Path) -> str | None:
    """The address of the embedded server that another `research` runs over this folder now."""
    try:
        url = (data / "embedded.url").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return url if answers(url) else None


def lock_holder(data: Path) -> int | None:
    """The process that has the folder's lock now; None where nobody has."""
    try:
        with (data / "lock").open("r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read(20))
    except (OSError, ValueError):
        pass
    return None
