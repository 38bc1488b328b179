"""Servers that start in a tenth of the time: forked from a process that has imported the libraries, not our code.

`python -m server` imports for a second and more; this is the same program behind that. Needs Linux.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).parents[2]
OURS = ("server", "graph")
LOADED = ("server.services", "server.serving", "graph.graph", "graph.checkpoints", "graph.turn", "graph.documents")


class WarmChild:
    """A forked server; as much of `subprocess.Popen` as a `ServerProcess` needs."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("r")
        self._connection = connection
        self._code: int | None = None
        self.pid = int(self._lines.readline())
        self._handle = os.pidfd_open(self.pid)

    def send_signal(self, number: int) -> None:
        if self._code is None:
            try:
                signal.pidfd_send_signal(self._handle, number)
            except ProcessLookupError:
                self.wait()

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._handle, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("server", timeout or 0)
            self._code = int(self._lines.readline())
            self._lines.close()
            self._connection.close()
            os.close(self._handle)
        return self._code


class WarmStart:
    """The process that servers are forked from. They end with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._address = f"{self._folder.name}/socket"
        command = [sys.executable, "-m", "tests.acceptance.warm_start", self._address]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n", "the process that servers are forked from did not start"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()

    def launch(self, env: dict[str, str], log: Path) -> WarmChild:
        """Starts `python -m server` with exactly that environment, its output behind what `log` holds."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self._address)
        connection.sendall(json.dumps({"env": env, "log": str(log)}).encode() + b"\n")
        return WarmChild(connection)


def _load() -> None:
    for name in (*LOADED, "langchain_openai", "encodings.idna"):
        importlib.import_module(name)
    # The child imports ours anew: it reads the environment as it does.
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a thread does not live through a fork"


def _become_server(asked: dict[str, Any]) -> None:
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, opened in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(opened, number)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(asked["env"])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # both are text files here
    sys.argv = ["server"]
    runpy.run_module("server", run_name="__main__", alter_sys=True)


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_server(asked)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


def main() -> None:
    _load()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(sys.argv[1])
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    children: dict[int, tuple[int, socket.socket]] = {}
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                for pid, _ in children.values():
                    os.kill(pid, signal.SIGKILL)
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = _fork(json.loads(connection.makefile("rb").readline()))
                connection.sendall(b"%d\n" % pid)
                handle = os.pidfd_open(pid)
                children[handle] = (pid, connection)
                selector.register(handle, selectors.EVENT_READ)
            else:
                selector.unregister(key.fd)
                pid, connection = children.pop(key.fd)
                os.close(key.fd)
                with connection:
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
