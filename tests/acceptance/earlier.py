"""Servers of earlier commits, over the packages of this one; and what they have left behind, kept beside the tests.

`python -m tests.acceptance.earlier COMMIT` adds to `tests/stored` what the server of that commit leaves: a turn that
has ended and one that was killed in its third model call. Once for each version of the schema.
"""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.server_process import CHECKOUT, ServerProcess
from tests.openai_stub.process import ModelStub

STORED: Final = CHECKOUT / "tests" / "stored"
ENDED, KILLED = "ended-earlier", "killed-earlier"
SETTINGS: Final = {
    "NUM_PHASES": "2",
    "CALLS_PER_PHASE": "2",
    "INTRA_PHASE_COOLDOWN_SEC": "0",
    "INTER_PHASE_COOLDOWN_SEC": "0",
    "RESEARCH_MODEL": "openai:stub",
    "OPENAI_API_KEY": "sk-none",
}
_LEFT: Final = ("server.sqlite", "server.sqlite-wal", "checkpoints.sqlite", "checkpoints.sqlite-wal")


def git(*arguments: str) -> bytes:
    """What git answers. Raises `subprocess.CalledProcessError`."""
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True).stdout


def last_other_commit() -> str | None:
    """The newest commit on the way here whose server or graph is not the one that is tested; None: git has none."""
    try:
        commits = git("rev-list", "--first-parent", "--max-count=50", "HEAD").decode().split()
        return next((commit for commit in commits if git("diff", "--name-only", commit, "--", "server", "graph")), None)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None


def checked_out(commit: str, folder: Path) -> Path:
    """The tree of a commit, in `folder`."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "server", "graph"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def server_of(tree: Path, data_dir: Path, stub: ModelStub, **settings: str) -> ServerProcess:
    """A server of that tree: its own modules come before those of this checkout."""
    start = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('server', run_name='__main__')"
    env = {**SETTINGS, "OPENAI_BASE_URL": stub.base_url, **settings}
    return ServerProcess(data_dir, env, command=(sys.executable, "-P", "-c", start, str(tree)))


def leave_turns(server: ServerProcess, stub: ModelStub) -> None:
    """Starts the server, and kills it when one turn has ended and one is in its third call."""
    with server, ResearchClient(server.url) as client:
        client.post("Bridges", thread_id="thread-ended", headers={"x-agent-invocation-id": ENDED})
        client.wait_for(ENDED, lambda record: record["ended_at"] is not None)
        stub.hold(after_tokens=5, from_call=len(stub.calls()) + 3)
        client.post("Dams", thread_id="thread-killed", headers={"x-agent-invocation-id": KILLED})
        stub.wait_for_calls(1, state="held")
        client.read_stream(KILLED, until=of_type("token", phase=2))
        server.kill()
        stub.release()


def main(commit: str) -> None:
    """Keeps what the server of `commit` leaves."""
    with tempfile.TemporaryDirectory() as folder, ModelStub(tokens=20) as stub:
        stub.start()
        tree, data = checked_out(commit, Path(folder) / "tree"), Path(folder) / "data"
        leave_turns(server_of(tree, data, stub), stub)
        with closing(sqlite3.connect(data / "server.sqlite")) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with closing(sqlite3.connect(data / "checkpoints.sqlite")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        STORED.mkdir(exist_ok=True)
        with tarfile.open(STORED / f"schema-{version}.tar.xz", "w:xz") as archive:
            for name in _LEFT:
                if (data / name).exists():
                    archive.add(data / name, name)


if __name__ == "__main__":
    main(sys.argv[1])
