"""Events go when their time is up, threads when somebody wants it, and nothing else goes with them."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from typing import Literal

import orjson
import pytest

from tests.acceptance.client import Frame, ResearchClient, SSEParser
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, check_same
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

FILES = ("server.sqlite", "checkpoints.sqlite")
TTL_SEC = 0.5
# 128 KB of an event's text; fifty of them are more than the buffers between two sockets hold.
LONG_MESSAGE = "\N{GRINNING FACE}" * 32_000
LONG_STEERS = 50


def stream_status(client: ResearchClient, invocation_id: str) -> int:
    """The status of an ended invocation's stream."""
    headers = {"accept": "text/event-stream"}
    return client.request("GET", f"/invocations/{invocation_id}", headers=headers).status_code


def test_events_go_after_their_time(make_server: MakeServer) -> None:
    server = make_server(EVENT_TTL_SEC=TTL_SEC)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges", thread_id="t")["invocation_id"]
        assert client.read_stream(invocation).closed == "done"
        record, report = client.record(invocation), client.report(invocation)
        wait_until(lambda: stream_status(client, invocation) == 410)
        answer = client.request("GET", f"/invocations/{invocation}", headers={"accept": "text/event-stream"})
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.record(invocation) == record
        assert client.report(invocation) == report
        server.restart()
        assert stream_status(client, invocation) == 410
        # The thread's findings are no events: a follow-up builds on them.
        follow = client.post("And what of dams?", thread_id="t", steering="guidance")["invocation_id"]
        client.wait_for(follow, lambda record: record["status"] == "completed")
        assert client.request("GET", "/threads/t").json()["completed_phases"] == 3
    wait_until(lambda: rows(server, "events") == 0)


def test_events_of_a_running_turn_stay(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(EVENT_TTL_SEC=0.05)
    server.start()
    stub.hold(after_tokens=5, from_call=3)
    with ResearchClient(server.url) as client:
        ended = client.post("Locks", config={"phases": 1, "calls_per_phase": 2})["invocation_id"]
        client.wait_for(ended, lambda record: record["status"] == "completed")
        running = client.post("Bridges")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        # Sweeps pass: one takes the ended turn's events, none the running one's.
        wait_until(lambda: stream_status(client, ended) == 410)
        frames = client.read_stream(
            running, until=lambda frame: frame.data is not None and '"type":"token"' in frame.data
        )
        assert next(frame.id for frame in frames if frame.id) == "1"


@pytest.mark.parametrize("removal", ["retention", "erasing"])
def test_an_open_reader_hears_that_they_are_gone(
    make_server: MakeServer, stub: ModelStub, removal: Literal["retention", "erasing"]
) -> None:
    server = make_server(EVENT_TTL_SEC=TTL_SEC if removal == "retention" else 1000, NUM_PHASES=1)
    server.start()
    stub.hold(after_tokens=5)
    with ResearchClient(server.url) as client, contextlib.ExitStack() as stack:
        first = client.post("Bridges", thread_id="t")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        reader = stack.enter_context(stalled_reader(server, first))
        for number in range(LONG_STEERS):
            last = client.post(f"{number} {LONG_MESSAGE[:-4]}", thread_id="t")["invocation_id"]
        stub.release()
        for invocation in (first, last):
            client.wait_for(invocation, lambda record: record["ended_at"] is not None)
        if removal == "retention":
            wait_until(lambda: stream_status(client, first) == 410)
            wait_until(lambda: stream_status(client, last) == 410)
        else:
            assert client.request("DELETE", "/threads/t").status_code == 204
        frames = read_rest(reader)
    *numbered, end = [frame for frame in frames if frame.id or frame.event]
    assert [frame.id for frame in numbered] == [str(number) for number in range(1, len(numbered) + 1)]
    assert end.event == "gone", f"behind {len(numbered)} events came {end.event}, not `gone`"
    assert end.id is None
    told = orjson.loads(end.data or "{}")
    assert (told["type"], told["invocation_id"]) == ("gone", first)


@contextlib.contextmanager
def stalled_reader(server: ServerProcess, invocation_id: str) -> Iterator[socket.socket]:
    """A connection that asked for a stream and does not read it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        asked = f"GET /invocations/{invocation_id} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        connection.sendall(asked.encode())
        assert connection.recv(12, socket.MSG_WAITALL).endswith(b" 200")
        yield connection


def read_rest(connection: socket.socket) -> list[Frame]:
    """What came on the connection until the server closed it."""
    connection.settimeout(30)
    body = b"".join(iter(lambda: connection.recv(1 << 20), b"")).partition(b"\r\n\r\n")[2]
    return list(SSEParser().feed(body))


def test_a_thread_is_erased_whole(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    kept = client.post("Bridges", thread_id="kept")["invocation_id"]
    before = check_invocation(client, kept)
    stub.control(tokens=1000)
    erased = client.post("Dams that nobody is to know of", thread_id="erased")["invocation_id"]
    client.read_stream(erased)
    record, report = client.record(kept), client.report(kept)
    size = {name: size_of(server, name) for name in FILES if (server.data_dir / name).exists()}
    assert client.request("DELETE", "/threads/erased").status_code == 204
    for name, was in size.items():
        assert size_of(server, name) < was, name
        assert free_pages(server, name) == 0, name
    if not size:  # PostgreSQL keeps the space for what comes
        for table in ("invocations", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            assert server.query(f"SELECT count(*) FROM {table} WHERE thread_id = 'erased'") == [(0,)], table
    known = (f"/invocations/{erased}", f"/invocations/{erased}/report")
    for path in ("/threads/erased", "/threads/erased/history", *known):
        assert client.request("GET", path).status_code == 404, path
    assert client.request("DELETE", "/threads/erased").status_code == 404
    assert client.request("GET", "/invocations", params={"thread_id": "erased"}).json()["invocations"] == []
    check_same(before, check_invocation(client, kept))
    assert client.record(kept) == record
    assert client.report(kept) == report
    # The name is free again.
    again = client.read_stream(client.post("Locks", thread_id="erased")["invocation_id"])
    assert '"entry_mode":"fresh"' in (again[1].data or "") + (again[0].data or "")


def test_a_busy_thread_is_not_erased(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5)
    running = client.post("Bridges", thread_id="t")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    answer = client.request("DELETE", "/threads/t")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    stub.release()
    check_invocation(client, running)
    assert client.request("DELETE", "/threads/t").status_code == 204


def rows(server: ServerProcess, table: str) -> int:
    return int(server.query(f"SELECT count(*) FROM {table}")[0][0])


def free_pages(server: ServerProcess, name: str) -> int:
    with contextlib.closing(sqlite3.connect(server.data_dir / name, timeout=30)) as connection:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def size_of(server: ServerProcess, name: str) -> int:
    """The database with its write-ahead log."""
    return sum(path.stat().st_size for path in server.data_dir.glob(f"{name}*") if not path.name.endswith("-shm"))
