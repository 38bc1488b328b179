"""A worker that was frozen, or cut off from the database, and comes back: it writes nothing more, and harms nobody."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation, events, model_calls_repeated
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

pytestmark = pytest.mark.backends("postgres")

LEASE_SEC = 2
# Each within what a worker does for a run, some of them inside a transaction.
POINTS = (
    "claim.before",
    "claim.after",
    "events.before:3",
    "events.after:3",
    "token.first:2",
    "result.before:3",
    "result.after:3",
    "checkpoint.before:5",
    "checkpoint.after:5",
    "terminal.before",
)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture(autouse=True)
def settled(database_url: str) -> None:
    """A server that was started anew gives its workers time to come back before it takes any for dead."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_sleep(greatest(0, 4 - extract(epoch FROM now() - pg_postmaster_start_time())))")


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_froze_writes_nothing_when_it_comes_back(
    make_server: MakeServer, stub: ModelStub, point: str
) -> None:
    lease = {"WORKER_LEASE_SEC": LEASE_SEC}
    api = make_server("api", ROLE="api", **lease)
    frozen = make_server("frozen", ROLE="worker", FAULT_POINT=f"stop:{point}", **lease)
    other = make_server("other", ROLE="worker", **lease)
    api.start()
    frozen.start()
    with ResearchClient(api.url) as client:
        run = client.post("Bridges")["invocation_id"]
        with SteadyReader(api, run) as reader:
            wait_until(lambda: is_stopped(frozen.pid), timeout=90)
            began, before = time.monotonic(), client.record(run)["last_event_id"]
            other.start()
            client.wait_for(run, lambda record: record["last_event_id"] > before)
            assert time.monotonic() - began < LEASE_SEC + 2 + other.ready_at - other.started_at
            stub.hold(after_tokens=5, from_call=len(stub.calls()) + 1)
            frozen.signal(signal.SIGCONT)
            # It hears that its lease has ended, and would write what it had begun.
            wait_until(
                lambda: "lease_lapsed" in frozen.log_text() or "turn_superseded" in frozen.log_text(), timeout=90
            )
            wait_until(lambda: healthy(frozen), timeout=90)
            stub.release()
            whole = check_invocation(client, run)
            reader.wait()
            reader.check(whole)
        assert client.record(run)["status"] == "completed"
        assert model_calls_repeated(whole) <= 1
        assert sum(event["type"] == "recovered" for event in events(whole)) <= 1
        # It is a worker again: the other one is gone, and it does the next turn.
        other.kill()
        assert check_invocation(client, client.post("Tunnels")["invocation_id"])
    assert "Traceback" not in frozen.log_text()


def test_frozen_by_a_signal_under_many_runs(make_server: MakeServer, stub: ModelStub) -> None:
    stub.control(delay_ms=10)
    api, one, two = (
        make_server(name, ROLE=role, WORKER_LEASE_SEC=LEASE_SEC)
        for name, role in (("api", "api"), ("one", "worker"), ("two", "worker"))
    )
    for host in (api, one, two):
        host.start()
    with ResearchClient(api.url) as client, ExitStack() as stack:
        runs = [client.post(f"Bridge {number}", config={"phases": 6})["invocation_id"] for number in range(12)]
        readers = [stack.enter_context(SteadyReader(api, run)) for run in runs]
        for host in (one, two, one):
            stub.wait_for_calls(len(stub.calls()) + 3)
            host.signal(signal.SIGSTOP)
            time.sleep(LEASE_SEC + 1)
            host.signal(signal.SIGCONT)
        for reader in readers:
            reader.wait(120)
            reader.check(check_invocation(client, reader.invocation_id))
        assert {client.record(run)["status"] for run in runs} == {"completed"}


def healthy(server: ServerProcess) -> bool:
    with ResearchClient(server.url) as client:
        return bool(client.request("GET", "/readiness").status_code == 200)


def can_cut_off() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Namespace:
    """A network namespace with a wire to the database and one to the model; the first can be cut."""

    def __init__(self) -> None:
        self.name = f"w{os.getpid() % 100000}"
        self.network = f"10.{192 + os.getpid() // 256 % 64}.{os.getpid() % 256}"
        self._wires: list[str] = []

    def __enter__(self) -> Namespace:
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._wires:
            with suppress(subprocess.CalledProcessError):
                ip("link", "del", wire)
        ip("netns", "del", self.name)

    def wire(self, number: int) -> str:
        """Joins it to this machine, which is the returned address on that wire."""
        here, there = f"{self.name}h{number}", f"{self.name}n{number}"
        mine, its = f"{self.network}.{4 * number + 1}", f"{self.network}.{4 * number + 2}"
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        self._wires.append(here)
        ip("addr", "add", f"{mine}/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", self.name, "addr", "add", f"{its}/30", "dev", there)
        ip("-n", self.name, "link", "set", there, "up")
        return mine

    def cut(self, number: int) -> None:
        ip("link", "set", self._wires[number], "down")

    def mend(self, number: int) -> None:
        ip("link", "set", self._wires[number], "up")


class Forwarder:
    """What comes to `address` goes to 127.0.0.1:`port`; `listens_on` is the port it takes there."""

    def __init__(self, address: str, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._sockets = [socket.create_server((address, 0))]
        self.listens_on = int(self._sockets[0].getsockname()[1])
        self._threads = [threading.Thread(target=self._accept_all, daemon=True)]

    def __enter__(self) -> Forwarder:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for opened in self._sockets:
            opened.close()

    def _accept_all(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._sockets[0].accept()
                other = socket.create_connection(self._target)
                self._sockets += [one, other]
                for source, sink in ((one, other), (other, one)):
                    self._threads.append(threading.Thread(target=_copy, args=(source, sink), daemon=True))
                    self._threads[-1].start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.skipif(not can_cut_off(), reason="needs root and iproute2, for a network namespace")
def test_a_worker_that_is_cut_off_from_the_database_stops_and_comes_back(
    make_server: MakeServer, stub: ModelStub, database_url: str, tmp_path: Path
) -> None:
    database_port = int(database_url.rpartition(":")[2].partition("/")[0])
    stub_port = int(stub.url.rpartition(":")[2])
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        here, there = namespace.wire(0), namespace.wire(1)
        to_database = stack.enter_context(Forwarder(here, database_port)).listens_on
        to_model = stack.enter_context(Forwarder(there, stub_port)).listens_on
        api = make_server("api", ROLE="api", WORKER_LEASE_SEC=LEASE_SEC)
        api.start()
        cut = make_server(
            "cut",
            namespace=namespace.name,
            ROLE="worker",
            WORKER_LEASE_SEC=LEASE_SEC,
            DATABASE_URL=database_url.replace(f"127.0.0.1:{database_port}", f"{here}:{to_database}"),
            OPENAI_BASE_URL=f"http://{there}:{to_model}/v1",
        )
        cut.spawn()
        stub.hold(after_tokens=5, from_call=3)
        client = stack.enter_context(ResearchClient(api.url))
        run = client.post("Bridges")["invocation_id"]
        reader = stack.enter_context(SteadyReader(api, run))
        stub.wait_for_calls(1, state="held")
        client.read_stream(run, until=of_type("token", phase=2))
        namespace.cut(0)
        began, before = time.monotonic(), client.record(run)["last_event_id"]
        other = make_server("other", ROLE="worker", WORKER_LEASE_SEC=LEASE_SEC)
        other.start()
        client.wait_for(run, lambda record: record["last_event_id"] > before)
        assert time.monotonic() - began < LEASE_SEC + 2 + other.ready_at - other.started_at
        wait_until(lambda: "lease_lapsed" in cut.log_text(), timeout=90)
        # Its model call ends only now: it may not even wish to write that down.
        stub.release()
        whole = check_invocation(client, run)
        assert model_calls_repeated(whole) == 1
        namespace.mend(0)
        other.kill()
        # Back on the wire it is a worker as any other.
        check_invocation(client, client.post("Tunnels")["invocation_id"])
        reader.wait()
        reader.check(whole)
        assert check_invocation(client, run) == whole
        assert not cut.ended
