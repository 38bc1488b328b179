"""The application over ASGI, without a network: two keys, one of whom the fuzzer is, and what the other one has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from pydantic import SecretStr

from server.app import create_app
from server.data_folder import DataFolder
from server.services import open_services
from server.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.fuzz.requests import Asked

ALICE, BOB = "alice-planted-key-0123456789", "bob-key-0123456789abcdef"
PLANTED: Final = "Planted-of-Alice"
# Names that both use, so that each name that is tried may be the other's.
OF_ALICE: Final = ("alice-1", "alice-thread", f"doc_{1:032x}")
OF_BOB: Final = ("bob-1", "bob-thread")
# What Bob's turns can rest for; more than a fuzz lasts, so that there are always some under way.
PATIENCE_SEC: Final = 20


@dataclass
class Answer:
    """What came back. Of a stream without an end, its first part."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Served:
    """The application, asked as uvicorn asks it."""

    def __init__(self, app: FastAPI, folder: Path) -> None:
        self._app = app
        self.folder = folder

    async def ask(self, asked: Asked) -> Answer:
        """The answer; the client goes away when a stream has begun."""
        path, _, query = asked.target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "method": asked.method,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": list(asked.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        answer, gone, sent = Answer(), asyncio.Event(), False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": asked.body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
                return
            answer.body += message.get("body", b"")
            if answer.headers.get("content-type", "").startswith("text/event-stream") or not message.get("more_body"):
                gone.set()

        async with asyncio.timeout(PATIENCE_SEC):
            await self._app(scope, receive, send)
        return answer


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """The application with Alice's run and document in it."""
    defaults = {name: each.default for name, each in Settings.model_fields.items()}
    small = {"num_phases": 1, "calls_per_phase": 1, "intra_phase_cooldown_sec": 0, "inter_phase_cooldown_sec": 0}
    keys = SecretStr(f"alice:{ALICE},bob:{BOB}")
    values = Settings.model_construct(**{**defaults, **small, "max_concurrent_runs": 1, "api_keys": keys})
    with DataFolder(folder / "data") as data:
        services = open_services(values, data, began=time.monotonic())
        app = create_app(services)
        async with app.router.lifespan_context(app):
            yield Served(app, folder)
