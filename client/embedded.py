"""The server of `run`: what it is told, and its coming back after a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from client.errors import ServerDidNotStart, ServerKeepsEnding
from client.server_process import ServerProcess

MOST_RESTARTS = 5

# The offline model needs no rest; a provider is paced by the server's own defaults. What the user has set, stays.
_SHORT_COOLDOWNS = {"INTRA_PHASE_COOLDOWN_SEC": "0.1", "INTER_PHASE_COOLDOWN_SEC": "0.3"}


def server_environment(data: Path, documents: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """What goes over the user's environment. An empty variable is as good as none, as it is for the server."""
    offline = (environ.get("RESEARCH_MODEL") or "offline") == "offline"
    preferred = {"LOG_LEVEL": "warning", **(_SHORT_COOLDOWNS if offline else {})}
    env = {name: value for name, value in preferred.items() if not environ.get(name)}
    env["DATA_DIR"] = str(data.resolve())
    if documents is not None:
        env["DOCUMENTS_DIR"] = str(documents.resolve())
    return env


class Restarts:
    """Waits between two attempts to reach the server; if it has ended, starts it again, at most five times a run."""

    def __init__(self, server: ServerProcess, tell: Callable[[str], None]) -> None:
        self._server = server
        self._tell = tell
        self._count = 0

    def pause(self, seconds: float) -> None:
        """Raises `ServerKeepsEnding`."""
        if self._server.ended_within(seconds):
            while not self._start_again():
                pass

    def _start_again(self) -> bool:
        if self._count == MOST_RESTARTS:
            raise ServerKeepsEnding(f"The server ended {MOST_RESTARTS + 1} times; its log says more.")
        self._count += 1
        self._tell(f"The server ended; starting it again ({self._count} of {MOST_RESTARTS}).")
        try:
            self._server.start()
        except ServerDidNotStart as error:
            self._tell(str(error))
            return False
        return True
