"""A disk that is full, wrong, locked or taken: a sentence at the start, and no turn that ends falsely while it runs."""

from __future__ import annotations

import contextlib
import resource
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.backends("sqlite")


def ending(server: ServerProcess) -> str:
    """What a server that cannot start says on its way out: one sentence."""
    server.log.unlink(missing_ok=True)
    try:
        server.spawn()
    except FileExistsError:
        pytest.fail("the harness could not make DATA_DIR")
    code = server.wait_for_exit()
    said = server.log_text()
    assert code not in (0, None), said
    assert code > 0, f"ended by signal {-code}: {said}"
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
    assert said.startswith("error: ")
    return said


def test_a_data_dir_below_a_file(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    server = make_server(DATA_DIR=tmp_path / "file" / "data")
    assert "DATA_DIR" in ending(server)


def test_a_data_dir_that_is_a_file(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "DATA_DIR" in ending(make_server(DATA_DIR=tmp_path / "file"))


def test_a_data_dir_that_cannot_be_written(make_server: MakeServer) -> None:
    assert "DATA_DIR" in ending(make_server(DATA_DIR="/proc/self/data"))


@pytest.mark.parametrize("name", ["server.sqlite", "checkpoints.sqlite"])
@pytest.mark.parametrize("content", [b"this is no database " * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_corrupt_database(make_server: MakeServer, name: str, content: bytes) -> None:
    server = make_server()
    server.data_dir.mkdir()
    (server.data_dir / name).write_bytes(content)
    assert name in ending(server)
    assert (server.data_dir / name).read_bytes() == content, "what may be rescued by hand was changed"


def test_a_port_that_is_taken(make_server: MakeServer) -> None:
    server = make_server()
    with socket.create_server(("127.0.0.1", server.port)):
        assert str(server.port) in ending(server)


def test_a_second_server_on_the_same_folder(server: ServerProcess, make_server: MakeServer) -> None:
    assert "in use" in ending(make_server())
    with ResearchClient(server.url) as client:
        assert client.request("GET", "/readiness").status_code == 200


@pytest.mark.parametrize("model", ["offlin", "gpt-5", "openai:"])
def test_an_unknown_model(make_server: MakeServer, model: str) -> None:
    assert "RESEARCH_MODEL" in ending(make_server(RESEARCH_MODEL=model)).upper()


def test_a_missing_key(make_server: MakeServer) -> None:
    server = make_server()
    server.set_env(OPENAI_API_KEY=None)
    assert "OPENAI_API_KEY" in ending(server)


@pytest.fixture
def can_fill_disk() -> None:
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux changes the limits of a process that runs")


@contextlib.contextmanager
def full_disk(server: ServerProcess) -> Iterator[None]:
    """No file of the server can be written, its log included: each write meets EFBIG."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the whole database."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def on_disk(server: ServerProcess) -> int:
    """How many events there are, as another program sees them."""
    with contextlib.closing(sqlite3.connect(server.data_dir / "server.sqlite", timeout=30)) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def refused(client: ResearchClient) -> httpx2.Response:
    """The answer to a POST that the disk does not take."""
    answer = client.request("POST", "/invocations", json={"message": "Dams"})
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    return answer


def storage_failures(server: ServerProcess) -> int:
    return server.log_text().count("storage_failed")


@pytest.fixture
def held(client: ResearchClient, stub: ModelStub) -> str:
    """A turn in the middle of its third model call."""
    stub.control(tokens=400)
    stub.hold(after_tokens=5, from_call=3)
    invocation: str = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    client.read_stream(invocation, until=of_type("token", phase=2))
    return invocation


@pytest.mark.usefixtures("can_fill_disk")
def test_a_full_disk(server: ServerProcess, client: ResearchClient, stub: ModelStub, held: str) -> None:
    with SteadyReader(server, held) as reader:
        with full_disk(server):
            refused(client)
            assert client.request("GET", "/readiness").status_code == 503
            assert client.request("GET", "/liveness").status_code == 200
            stub.control(delay_ms=50)
            stub.release()
            # The turn's own writes meet the disk as well: it leaves its model call.
            stub.wait_for_calls(1, state="disconnected")
            stub.control(delay_ms=0)
            refused(client)
            assert client.record(held)["status"] in ("running", "queued")
            assert len(reader.frames) <= on_disk(server)
        reader.wait()
    whole = check_invocation(client, held)
    reader.check(whole)
    assert client.record(held)["status"] == "completed"
    assert client.request("GET", "/readiness").status_code == 200
    listed = client.request("GET", "/invocations").json()["invocations"]
    assert [record["invocation_id"] for record in listed] == [held], "a POST that was refused left something"


@pytest.mark.parametrize("name", ["server.sqlite", "checkpoints.sqlite"])
def test_a_database_that_another_program_locks(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, held: str, name: str
) -> None:
    with SteadyReader(server, held) as reader:
        with locked(server.data_dir / name):
            stub.release()
            if name == "server.sqlite":
                refused(client)
            deadline = time.monotonic() + 30
            while not storage_failures(server):
                assert time.monotonic() < deadline, server.log_tail()
                time.sleep(0.05)
            assert client.record(held)["status"] in ("running", "queued")
            assert len(reader.frames) <= on_disk(server)
        reader.wait()
    whole = check_invocation(client, held)
    reader.check(whole)
    assert client.record(held)["status"] == "completed"
