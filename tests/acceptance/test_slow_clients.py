"""Clients that send too much, too slowly, or take nothing: each is cut, and loses nothing that is its own."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.acceptance.client import Frame, ResearchClient, SSEParser
from tests.acceptance.conftest import MakeServer
from tests.acceptance.raw_connection import connected, rest_of
from tests.acceptance.resources import open_sockets
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.any_backend

PATIENCE_SEC = 0.5
MIB = 1024 * 1024
POST = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
def hasty(make_server: MakeServer) -> ServerProcess:
    server = make_server(SLOW_CLIENT_SEC=PATIENCE_SEC, NUM_PHASES=1, CALLS_PER_PHASE=1)
    server.start()
    return server


@pytest.fixture
def connection(hasty: ServerProcess) -> Iterator[socket.socket]:
    with closing(connected(hasty)) as connection:
        yield connection


def answer_of(connection: socket.socket) -> bytes:
    """One answer, as long as it says."""
    received = b""
    while (head := received.partition(b"\r\n\r\n"))[1] == b"" or len(head[2]) < length_of(head[0]):
        chunk = connection.recv(MIB)
        assert chunk, received
        received += chunk
    return received


def length_of(head: bytes) -> int:
    lines = [line.lower().partition(b":") for line in head.split(b"\r\n")]
    return next(int(value) for name, _, value in lines if name == b"content-length")


def problem_in(answer: bytes, status: int) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head.lower()
    problem = json.loads(body)
    assert problem["status"] == status
    return str(problem["detail"])


def pushed(connection: socket.socket, chunk: bytes, most: int) -> int:
    """How many bytes the server takes, `most` at most."""
    sent = 0
    try:
        while sent < most:
            sent += connection.send(chunk)
    except ConnectionError:
        pass
    return sent


def test_a_body_that_is_declared_too_large_is_not_read(connection: socket.socket) -> None:
    connection.sendall(POST + b"Content-Length: 1073741824\r\n\r\n{")
    assert pushed(connection, b" " * MIB, 512 * MIB) < 64 * MIB
    assert "larger than" in problem_in(rest_of(connection), 413)


def test_a_body_that_becomes_too_large_is_read_no_further(connection: socket.socket) -> None:
    connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    assert pushed(connection, b"10000\r\n" + b" " * 65536 + b"\r\n", 512 * MIB) < 64 * MIB
    assert "larger than" in problem_in(rest_of(connection), 413)


def test_who_reads_the_answer_while_he_sends_gets_it_whole(connection: socket.socket) -> None:
    connection.sendall(POST + b"Content-Length: 600000\r\n\r\n" + b" " * 300_000)
    answer = answer_of(connection)
    connection.sendall(b" " * 300_000)
    assert "larger than" in problem_in(answer, 413)
    # The whole of it has come, so the connection may be used again, and is not kept for ever where it is not.
    connection.sendall(b"GET /liveness HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
    assert rest_of(connection) == b""


def test_a_connection_that_is_not_used_again_is_closed(connection: socket.socket) -> None:
    connection.sendall(POST + b"Content-Length: 300000\r\n\r\n" + b" " * 150_000)
    assert answer_of(connection).startswith(b"HTTP/1.1 413 ")
    connection.sendall(b" " * 150_000)
    assert rest_of(connection) == b""


@pytest.mark.parametrize("length", [b"-1", b"1x", b"1e3", b"", b"9" * 30])
def test_a_length_that_is_none_is_refused(connection: socket.socket, length: bytes) -> None:
    connection.sendall(POST + b"Content-Length: " + length + b"\r\n\r\n{}")
    assert rest_of(connection).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


@pytest.mark.parametrize("path", ["/invocations", "/documents?name=a.md"])
def test_a_body_that_stops_is_answered_and_the_connection_closed(hasty: ServerProcess, path: str) -> None:
    with closing(connected(hasty)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert "did not come" in problem_in(rest_of(connection), 408)
    with ResearchClient(hasty.url) as client:
        assert client.request("GET", "/invocations").json()["invocations"] == []


@pytest.mark.parametrize("sent", [b"", b"GET /liveness HTTP/1.1\r\nHost: 127"])
def test_a_request_that_does_not_come_is_waited_for_no_longer(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert rest_of(connection) == b""


def test_a_connection_that_is_used_again_gets_the_same_patience(connection: socket.socket) -> None:
    connection.sendall(b"GET /liveness HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
    connection.sendall(b"GET /liveness HTTP/1.1\r\nHo")
    assert rest_of(connection) == b""


def test_headers_and_addresses_have_their_limits(hasty: ServerProcess) -> None:
    for line, status in ((b"X-A: " + b"a" * 70_000, 431), (b"\r\n".join([b"X-A: a"] * 20_000), 431)):
        with closing(connected(hasty)) as connection:
            pushed(connection, b"GET /liveness HTTP/1.1\r\nHost: 127.0.0.1\r\n" + line, 1)
            assert problem_in(rest_of(connection), status)
    with closing(connected(hasty)) as connection:
        connection.sendall(
            b"GET /invocations?cursor=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        assert "8,192" in problem_in(rest_of(connection), 414)


def test_a_reader_that_takes_nothing_is_cut_and_one_that_is_only_slow_is_not(
    make_server: MakeServer, stub: ModelStub
) -> None:
    server = make_server(SLOW_CLIENT_SEC=1)
    server.start()
    stub.control(tokens=100_000)
    with ResearchClient(server.url) as client:
        name = client.post("Bridges", config={"phases": 1, "calls_per_phase": 1})["invocation_id"]
        whole = client.read_stream(name, timeout=120)
        asked = f"GET /invocations/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        with closing(connected(server, receive_buffer=4096)) as connection:
            connection.sendall(asked)
            wait_until(lambda: "reader_cut" in server.log_text())
            got = frames_of(rest_of(connection))
        assert 0 < len(got) < len(whole)
        assert got == list(whole)[: len(got)]
        rest = client.read_stream(name, from_=max(int(frame.id) for frame in got if frame.id))
        assert [frame for frame in [*got, *rest] if frame.id] == [frame for frame in whole if frame.id]
        with closing(connected(server, receive_buffer=4096)) as connection:
            connection.sendall(asked)
            received = b""
            while not received.endswith(b"\r\n0\r\n\r\n"):
                # A little at a time, so that the server's buffer is full for most of the time.
                chunk = connection.recv(3000)
                assert chunk, "the server cut a reader that was taking what it got"
                received += chunk
        assert frames_of(received) == list(whole)
    assert "Traceback" not in server.log_text()
    assert server.log_text().count("reader_cut") == 1


def test_whoever_takes_nothing_is_cut_however_little_is_left(hasty: ServerProcess) -> None:
    """Answers fill what the kernel holds, and each connection leaves 10 kB more than the one before with the server."""
    with ExitStack() as stack:
        before = open_sockets(hasty.pid)
        for answers in range(20, 100):
            connection = stack.enter_context(closing(connected(hasty, receive_buffer=4096)))
            connection.sendall(b"GET /web/run.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * answers)
            assert connection.recv(1) == b"H"
        wait_until(lambda: open_sockets(hasty.pid) <= before)
    assert "reader_cut" in hasty.log_text()
    assert "Traceback" not in hasty.log_text()


def frames_of(answer: bytes) -> list[Frame]:
    """The frames in an answer of HTTP/1.1, whose body comes in chunks."""
    body, rest = b"", answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunk, rest = rest[: int(size or b"0", 16)], rest[int(size or b"0", 16) + 2 :]
        body += chunk
    return list(SSEParser().feed(body))
