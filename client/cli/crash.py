"""`research crash`: the sudden death of a server, for demonstrations."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx2

from client.cli.embedded import lock_holder, running_at
from client.cli.errors import NotDone
from client.cli.place import Place
from client.cli.session import Session
from client.connection import trusts_environment, with_key
from client.fields import Fields, part


def kill_server(place: Place, session: Session) -> str:
    """Kills it and says how. Raises `NotDone` where it is not for demonstrations."""
    last = session.memory.load()
    data = place.data or Path(session.environ.get("DATA_DIR") or last.data or "data")
    if not place.server and running_at(data) and (pid := lock_holder(data)):
        os.kill(pid, signal.SIGKILL)
        return f"Killed the embedded server (process {pid}); the `research` that it belongs to starts it again."
    with session.reach(place, tell=session.say, may_embed=False) as found:
        return _ask(found.client.url)


def _ask(url: str) -> str:
    with httpx2.Client(base_url=url, headers=with_key(None), trust_env=trusts_environment(url)) as http:
        if not _demo_mode(http.get("/web/settings").json()):
            raise NotDone(f"The server at {url} is no demonstration: start it with DEMO_MODE=1.")
        http.post("/invocations", json={"message": "crash"}).raise_for_status()
    return f"The server at {url} ends in a moment, as kill -9 would end it."


def _demo_mode(settings: object) -> bool:
    fields: Fields = settings if isinstance(settings, dict) else {}
    return part(fields, "server").get("demo_mode") is True
