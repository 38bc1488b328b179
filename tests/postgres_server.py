"""A PostgreSQL server that the tests start for themselves, in a temporary folder, and may kill and start again."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg

_PLACES: Final = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/pgsql/bin"))
_USER: Final = "postgres"
MISSING: Final = "PostgreSQL's binaries (Debian: the package postgresql) are not on this machine"


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, None where there is none."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    return next((place for place in (*places, *_PLACES) if (place / "postgres").exists()), None)


class PostgresServer:
    """One server on a port of its own, `fsync` on. Each database that a test asks for is a copy of an empty one."""

    def __init__(self) -> None:
        found = binaries()
        assert found is not None, MISSING
        self._binaries = found
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as bound:
            self.port = int(bound.getsockname()[1])

    def __enter__(self) -> Self:
        self._give_folder_away()
        self._as_user("initdb", "-D", f"{self._folder}/data", "-A", "trust", "-U", _USER, "-E", "UTF8", "--no-locale")
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a database that nobody has used."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": 300,
            "fsync": "on",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._folder / "data", *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._user_prefix() + command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, f"PostgreSQL ended:\n{self.log_tail()}"
            assert time.monotonic() < deadline, f"PostgreSQL did not start:\n{self.log_tail()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the server and all its backends, as a power cut would."""
        if self._process is None:
            return
        backends = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, backends)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        self._process = None
        # Its shared memory must be free before another may take the folder.
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in backends) and time.monotonic() < deadline:
            time.sleep(0.01)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-lines:])

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _give_folder_away(self) -> None:
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(self._folder, user.pw_uid, user.pw_gid)

    def _user_prefix(self) -> list[str | Path]:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return []
        user = _unprivileged()
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def _as_user(self, program: str, *arguments: str) -> None:
        command = [*self._user_prefix(), self._binaries / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _unprivileged() -> pwd.struct_passwd:
    """Debian's package makes a user of that name."""
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        return pwd.getpwnam("nobody")
