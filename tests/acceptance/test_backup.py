"""`python -m server backup` and `restore` from outside: while a server runs, and to the end of what it was doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.backup_rounds import backup_rounds
from tests.acceptance.client import ResearchClient
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import CHECKOUT, Launch
from tests.acceptance.transcript import check_invocation, check_same, subcall_texts
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.backends("sqlite")


def command(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=CHECKOUT,
        env=inherited | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_is_finished_from_its_backup(make_server: MakeServer, stub: ModelStub, tmp_path: Path) -> None:
    server = make_server()
    server.start()
    stub.hold(5, from_call=4)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges", thread_id="t")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        done = command("backup", tmp_path / "backup", DATA_DIR=str(server.data_dir))
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'backup'}\n"), done.stderr
        stub.release()
        original = check_invocation(client, invocation)
    server.kill()
    done = command("restore", tmp_path / "backup", DATA_DIR=str(tmp_path / "restored"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'restored'}\n"), done.stderr
    restored = make_server("restored")
    restored.start()
    with ResearchClient(restored.url) as client:
        client.wait_for(invocation, lambda record: record["status"] == "completed")
        whole = check_invocation(client, invocation)
        # Up to the backup the two are one; the finished calls are kept.
        check_same(original[:20], whole[:20])
        assert len(stub.calls()) == 6 + 3, "the call that streamed is made again, and the two behind it are made"
        assert subcall_texts(whole).keys() == subcall_texts(original).keys()
        in_use = command("restore", tmp_path / "backup", DATA_DIR=str(restored.data_dir))
        assert in_use.returncode == 2
        assert f"is in use by another server (process {restored.pid})" in in_use.stderr


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_with_postgresql_it_says_what_to_use(name: str, tmp_path: Path) -> None:
    done = command(name, tmp_path / "there", DATABASE_URL="postgresql://user:planted-secret@nowhere/research")
    assert done.returncode == 2
    assert done.stderr.startswith("error: DATABASE_URL: PostgreSQL is backed up by pg_dump")
    assert "planted-secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_backups_of_any_instant_are_gone_on_with(tmp_path: Path, stub: ModelStub, warm_launch: Launch | None) -> None:
    figures = backup_rounds(tmp_path, stub, count=5, seed=7, launch=warm_launch)
    assert figures["recovered"] > 0, "no turn was under way in any backup"
