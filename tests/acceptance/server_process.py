"""A server process that a test starts, kills and starts again."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx2
import psycopg

CHECKOUT = Path(__file__).parents[2]
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


class Child(Protocol):
    """A process, as `subprocess.Popen` shows it."""

    @property
    def pid(self) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class Launch(Protocol):
    """Starts a server with exactly this environment, its output behind what `log` holds."""

    def __call__(self, env: dict[str, str], log: Path) -> Child: ...


class ServerProcess:
    """`python -m server` of this checkout, on one port and one folder over all its restarts.

    `started_at` and `ready_at` are monotonic seconds: when the process was made, when `/readiness` answered 200.
    `launch` starts it in another way, as `WarmStart.launch` does.
    """

    def __init__(
        self,
        data_dir: Path,
        env: dict[str, str] | None = None,
        *,
        command: tuple[str, ...] = (),
        launch: Launch | None = None,
    ) -> None:
        self.data_dir, self.port = data_dir, free_port()
        self.log = data_dir.with_name(f"{data_dir.name}.{self.port}.log")
        self.started_at = self.ready_at = 0.0
        self._env = dict(env or {})
        self._command = command or (sys.executable, "-m", "server")
        self._launch = launch or self._popen
        self._process: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process, "the server is not running"
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is not running, be it that nobody started it."""
        return self._process is None or self._process.poll() is not None

    def set_env(self, **values: str | None) -> None:
        """Change the environment of the next start; None takes a variable away."""
        merged = {**self._env, **values}
        self._env = {name: value for name, value in merged.items() if value is not None}

    def start(self, timeout: float = 30) -> None:
        """Start and wait until it is ready; else AssertionError with the log's tail."""
        self.spawn()
        try:
            self.wait_until_ready(timeout)
        except BaseException:
            self.kill()
            raise

    def spawn(self) -> None:
        """Start without waiting."""
        assert self._process is None, "the server is already running"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.started_at = time.monotonic()
        self._process = self._launch(self._environment(), self.log)

    def _popen(self, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                cwd=CHECKOUT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        own = {"PORT": str(self.port), "DATA_DIR": str(self.data_dir), "PYTHONUNBUFFERED": "1"}
        return inherited | own | self._env

    def wait_until_ready(self, timeout: float = 30) -> None:
        assert self._process, "the server is not running"
        deadline = self.started_at + timeout
        with httpx2.Client(trust_env=False, timeout=5) as http:
            while not self._ready(http):
                code = self._process.poll()
                assert code is None, f"the server ended with {code}:\n{self.log_tail()}"
                assert time.monotonic() < deadline, f"the server was not ready in {timeout} s:\n{self.log_tail()}"
                time.sleep(0.02)
        self.ready_at = time.monotonic()

    def _ready(self, http: httpx2.Client) -> bool:
        try:
            return http.get(f"{self.url}/readiness").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Nothing where it is not running."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT and the like."""
        assert self._process, "the server is not running"
        self._process.send_signal(number)

    def terminate(self, timeout: float = 30) -> int:
        """SIGTERM, and the exit code it ended with."""
        self.signal(signal.SIGTERM)
        return self.wait_for_exit(timeout)

    def wait_for_exit(self, timeout: float = 30) -> int:
        """The exit code of a server that ends by itself; else it is killed, and AssertionError."""
        assert self._process, "the server is not running"
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the server did not end in {timeout} s:\n{self.log_tail()}") from error
        finally:
            self.kill()
        return code

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """What its database has on disk, whichever it is."""
        if (url := self._env.get("DATABASE_URL")) is not None:
            with psycopg.connect(url) as shared:
                return shared.execute(query.encode()).fetchall()
        with closing(sqlite3.connect(self.data_dir / "server.sqlite", timeout=30)) as own:
            return list(own.execute(query))

    def restart(self) -> None:
        """Kill it, where it still runs, and start it on the same folder and port."""
        self.kill()
        self.start()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])
