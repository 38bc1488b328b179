"""What earlier servers have left is gone on with: data of every earlier schema, and a run of the commit before."""

from __future__ import annotations

import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from server import migrations
from tests.acceptance.client import ResearchClient
from tests.acceptance.conftest import MakeServer
from tests.acceptance.earlier import (
    ENDED,
    KILLED,
    SETTINGS,
    STORED,
    checked_out,
    last_other_commit,
    leave_turns,
    server_of,
)
from tests.acceptance.transcript import check_invocation, model_calls_repeated
from tests.openai_stub.process import ModelStub

LAST = len(migrations.steps_behind(0))


def check_turns(client: ResearchClient) -> None:
    """Both turns that were left are whole: the one that had ended, and the one that was killed."""
    for name in (ENDED, KILLED):
        client.wait_for(name, lambda record: record["status"] == "completed")
        frames = check_invocation(client, name)
        assert model_calls_repeated(frames) <= 1
        assert "word1" in client.report(name)
    assert [turn["invocation_id"] for turn in client.request("GET", "/invocations").json()["invocations"]] == [
        KILLED,
        ENDED,
    ]
    follow_up = client.post("And what of it?", thread_id="thread-ended", steering="guidance")["invocation_id"]
    assert client.wait_for(follow_up, lambda record: record["ended_at"] is not None)["status"] == "completed"


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("version", range(1, LAST))
def test_what_a_server_of_an_earlier_schema_has_left(
    make_server: MakeServer, stub: ModelStub, tmp_path: Path, version: int
) -> None:
    # A new step needs what the one before has left: python -m tests.acceptance.earlier COMMIT.
    with tarfile.open(STORED / f"schema-{version}.tar.xz") as archive:
        archive.extractall(tmp_path / "data", filter="data")
    assert schema_of(tmp_path / "data") == version
    server = make_server(**SETTINGS, OPENAI_BASE_URL=stub.base_url)
    with server, ResearchClient(server.url) as client:
        check_turns(client)
    assert schema_of(tmp_path / "data") == LAST
    assert "Traceback" not in server.log_text()


def schema_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "server.sqlite")) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def dump_of(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "server.sqlite")) as database:
        return list(database.iterdump())


def test_a_run_of_the_commit_before_is_finished_by_this_one(
    make_server: MakeServer, stub: ModelStub, tmp_path: Path, database_url: str | None
) -> None:
    commit = last_other_commit()
    if commit is None:
        pytest.skip("git knows no earlier commit here")
    shared = {"DATABASE_URL": database_url} if database_url else {}
    tree = checked_out(commit, tmp_path / "tree")
    earlier = server_of(tree, tmp_path / "data", stub, **shared)
    leave_turns(earlier, stub)
    server = make_server(**SETTINGS, OPENAI_BASE_URL=stub.base_url)
    with server, ResearchClient(server.url) as client:
        check_turns(client)
    assert "Traceback" not in server.log_text()


@pytest.mark.backends("sqlite")
def test_a_newer_schema_is_refused_in_a_sentence_and_left_as_it_is(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server()
    server.start()
    server.kill()
    with closing(sqlite3.connect(tmp_path / "data" / "server.sqlite")) as database:
        database.execute(f"PRAGMA user_version = {LAST + 1}")
    before = dump_of(tmp_path / "data")
    said = len(server.log_text())
    server.spawn()
    assert server.wait_for_exit() == 2
    assert re.fullmatch(rf"error: .*schema {LAST + 1}.*\n", server.log_text()[said:])
    assert (schema_of(tmp_path / "data"), dump_of(tmp_path / "data")) == (LAST + 1, before)
