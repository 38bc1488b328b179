"""A server of one's own: `python -m server` as a child process on a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from client.cli.errors import ServerDidNotStart
from client.fields import printable

_HOST = "127.0.0.1"
_STOP_LIMIT_SEC = 15.0
_POLL_SEC = 0.05
_PROBE_TIMEOUT_SEC = 2.0
_LOG_TAIL_BYTES = 8192

# -P: the folder that the user stands in may have a `server` of its own; ours lies beside `client`.
COMMAND = (sys.executable, "-P", "-m", "server")
BESIDE = str(Path(__file__).resolve().parents[2])


class ServerProcess:
    """Starts with `with` or `start()`, and again on the same port after it ended. It logs to the end of `log`.

    `env` is its environment; without a `port` it takes a free one. Raises `ServerDidNotStart`, with the
    server's own last words.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        start_limit_sec: float = 120.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.port = port or _free_port()
        self.url = f"http://{_HOST}:{self.port}"
        # Unbuffered, so that in the log the sentence on stderr comes last, behind all of stdout.
        own = {"HOST": _HOST, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        path = os.pathsep.join([BESIDE, *filter(None, [env.get("PYTHONPATH")])])
        self._env = {**env, **own, "PYTHONPATH": path}
        self._log = log
        self._start_limit_sec = start_limit_sec
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the server is ready to take work."""
        with self._log.open("ab") as log:
            log_start = log.tell()
            # A process group of its own: the terminal's Ctrl-C is for the client, which then stops the server.
            self._process = subprocess.Popen(  # noqa: S603 - a constant
                COMMAND,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            self._await_ready(log_start)
        except BaseException:
            self.stop()
            raise

    def ended_within(self, seconds: float) -> bool:
        """Waits so long, or less where the process ends; true if it has ended."""
        try:
            self._started().wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def pid(self) -> int:
        """Of its process, be it that it has ended."""
        return self._started().pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that takes over 15 s or where the wait itself is broken off."""
        process = self._started()
        try:
            process.send_signal(signal.SIGTERM)
            self.ended_within(_STOP_LIMIT_SEC)
        finally:
            process.kill()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerDidNotStart
        return self._process

    def _await_ready(self, log_start: int) -> None:
        give_up_at = self._monotonic() + self._start_limit_sec
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=_PROBE_TIMEOUT_SEC) as http:
            while not _ready(http):
                if self.ended_within(_POLL_SEC):
                    raise ServerDidNotStart(self._last_words(log_start))
                if self._monotonic() > give_up_at:
                    raise ServerDidNotStart(f"The server was not ready after {self._start_limit_sec:g} s.")

    def _last_words(self, log_start: int) -> str:
        """The last line of this start's log; the exit code where it said nothing."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(log_start, size - _LOG_TAIL_BYTES))
            lines = [printable(line) for line in log.read().decode("utf-8", "replace").splitlines()]
        said = [line for line in lines if line]
        return said[-1] if said else f"The server ended at its start with exit code {self._started().returncode}."


def _ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/readiness").status_code == 200
    except httpx2.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
