"""A checkpoint file that somebody changed: refused in words, and nothing of it is run."""

from __future__ import annotations

import os
import pickle
import sqlite3
from pathlib import Path

import psycopg

from tests.acceptance.client import ResearchClient
from tests.acceptance.conftest import MakeServer


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def change(folder: Path, database_url: str | None, data: bytes) -> None:
    """Puts `data` in the place of all that the checkpoints hold, as a pickle."""
    if database_url:
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE checkpoint_blobs SET type = 'pickle', blob = %s WHERE type = 'msgpack'", [data])
        return
    file = sqlite3.connect(folder / "checkpoints.sqlite")
    with file:
        file.execute("UPDATE checkpoints SET type = 'pickle', checkpoint = ?", [data])
    file.close()


def test_a_changed_checkpoint_is_refused(make_server: MakeServer, tmp_path: Path, database_url: str | None) -> None:
    made = tmp_path / "made"
    server = make_server(NUM_PHASES=1, CALLS_PER_PHASE=1)
    server.start()
    with ResearchClient(server.url) as client:
        first = client.post("Tides", thread_id="line")["invocation_id"]
        client.wait_for(first, lambda record: record["status"] == "completed")
    server.kill()
    change(server.data_dir, database_url, pickle.dumps(Payload(made)))
    server.start()
    with ResearchClient(server.url) as client:
        told = client.request("GET", "/threads/line")
        assert told.status_code == 500
        assert "checkpoint" in told.json()["detail"]
        second = client.post("Tides again", thread_id="line")["invocation_id"]
        record = client.wait_for(second, lambda record: record["ended_at"] is not None)
        assert record["status"] == "failed"
        assert record["error"]["type"] == "CheckpointRefused"
        assert client.read_stream(second).closed == "done"
        assert client.request("DELETE", "/threads/line").status_code == 204
    assert not made.exists()
    assert "Traceback" not in server.log_text()
