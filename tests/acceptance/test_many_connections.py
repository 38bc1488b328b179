"""More connections and streams than a process can hold: who comes too late is told, and one key shuts nobody out."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.connections import MOST_LINGERING
from server.descriptors import KEPT, KEPT_A_RUN
from tests.acceptance.client import ResearchClient
from tests.acceptance.raw_connection import connected, rest_of
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

ALICE, BOB = "alice-planted-key-0123456789", "bob-planted-key-0123456789abc"
DESCRIPTORS, RUNS = 200, 2
MOST = max(DESCRIPTORS // 2, DESCRIPTORS - KEPT - KEPT_A_RUN * RUNS)


@pytest.fixture
def narrow(stub: ModelStub, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that the system gives few file descriptors."""
    env = {
        "API_KEYS": f"alice:{ALICE},bob:{BOB}",
        "MAX_CONCURRENT_RUNS": str(RUNS),
        "RESEARCH_MODEL": "openai:stub",
        "OPENAI_API_KEY": "sk-planted-secret",
        "OPENAI_BASE_URL": stub.base_url,
    }
    command = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" -m server', sys.executable)
    with ServerProcess(tmp_path / "data", env, command=command) as server:
        yield server


def asked(server: ServerProcess, path: str, key: str) -> socket.socket:
    connection = connected(server)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n".encode())
    return connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(4096).split(b" ", 2)[1])


def test_one_key_s_streams_leave_room_for_others(narrow: ServerProcess, stub: ModelStub) -> None:
    stub.hold(after_tokens=3)
    with (
        ExitStack() as stack,
        ResearchClient(narrow.url, headers={"x-api-key": ALICE}) as alice,
        ResearchClient(narrow.url, headers={"x-api-key": BOB}) as bob,
    ):
        mine, other = (client.post("Bridges")["invocation_id"] for client in (alice, bob))
        streams = [stack.enter_context(asked(narrow, f"/invocations/{mine}", ALICE)) for _ in range(MOST // 2)]
        assert {status_of(stream) for stream in streams} == {200}
        refused = alice.request("GET", f"/invocations/{mine}")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["detail"] == f"{MOST // 2} event streams are open already."
        assert status_of(stack.enter_context(asked(narrow, f"/invocations/{other}", BOB))) == 200
        assert alice.record(mine)["status"] == "running"
        # Nor is a turn taken whose stream there is no room for.
        for path in ("/invocations", f"/invocations/{mine}/resume"):
            steer = {"message": "Only steel", "thread_id": alice.record(mine)["thread_id"]}
            accept = {"Accept": "text/event-stream"}
            assert alice.request("POST", path, json=steer, headers=accept).status_code == 429
        assert alice.record(mine)["status"] == "running"
        assert len(alice.request("GET", "/invocations").json()["invocations"]) == 1
        streams.pop().close()
        wait_until(lambda: status_of(stack.enter_context(asked(narrow, f"/invocations/{mine}", ALICE))) == 200)
        stub.release()


def test_connections_beyond_what_fits_are_told_so_and_the_run_goes_on(narrow: ServerProcess, stub: ModelStub) -> None:
    stub.hold(after_tokens=3)
    with ExitStack() as stack, ResearchClient(narrow.url, headers={"x-api-key": ALICE}) as alice:
        mine = alice.post("Bridges", config={"phases": 1, "calls_per_phase": 1})["invocation_id"]
        for _ in range(MOST):
            stack.enter_context(connected(narrow))
        answer = rest_of(stack.enter_context(asked(narrow, "/liveness", ALICE)))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 5\r\n" in answer
        assert b"application/problem+json" in answer
        # However many come, few of them are held while they read why.
        late = [stack.enter_context(connected(narrow)) for _ in range(3 * MOST_LINGERING)]
        assert b"" in [rest_of(each) for each in late]
        # The connection that was there before goes on.
        assert alice.record(mine)["status"] == "running"
        stub.release()
        alice.wait_for(mine, lambda record: record["status"] == "completed")
    with ResearchClient(narrow.url, headers={"x-api-key": BOB}) as bob:
        wait_until(lambda: bob.request("GET", "/invocations").status_code == 200)
