"""`make studio` in a folder of its own, kept off every network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.acceptance.server_process import CHECKOUT, INHERITED, free_port

PARTS = ("Makefile", "langgraph.json", "graph", "server", "requirements", "pyproject.toml")


class StudioProcess:
    """LangGraph's development server over `folder`, which is a checkout to it, and holds all that it writes."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder / "studio.log"
        self.beyond = folder / "network.log"
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            if not (folder / part).exists():
                (folder / part).symlink_to(CHECKOUT / part)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.http.client.close()
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> SyncLangGraphClient:
        """LangGraph's own client."""
        return get_sync_client(url=self.url, api_key=None)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts it without waiting."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        offline = {"PYTHONPATH": str(CHECKOUT / "tests" / "offline"), "OFFLINE_LOG": str(self.beyond)}
        command = ["make", f"VENV={CHECKOUT / '.venv'}", f"STUDIO_PORT={self.port}", "studio"]
        with self.log.open("ab") as output:
            # A group of its own, as make stands in front of the server.
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=inherited | offline | self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    def start(self, timeout: float = 90) -> None:
        """Starts it and waits until it answers; else AssertionError with its log."""
        process, deadline = self.spawn(), time.monotonic() + timeout
        with httpx2.Client(trust_env=False, timeout=5) as http:
            while not self._answers(http):
                if process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(f"langgraph dev did not start:\n{self.log.read_text()[-4000:]}")
                time.sleep(0.1)

    def _answers(self, http: httpx2.Client) -> bool:
        try:
            return http.get(f"{self.url}/ok").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL to make and the server, and waits until they are gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
