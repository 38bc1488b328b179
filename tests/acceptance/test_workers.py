"""Several hosts over one database: who dies, who is asked, and what goes on without a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.acceptance.client import ResearchClient, nth_of_type, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation, check_same, events, model_calls_repeated
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub
from tests.postgres_server import PostgresServer

MakeServer = Callable[..., ServerProcess]

pytestmark = pytest.mark.backends("postgres")

LEASE_SEC = 3
# From its commit at one host to its effect at another.
REACH_SEC = 0.2
# What a loaded machine of two cores may take on top of what is promised.
SLACK_SEC = 1.5


@pytest.fixture
def hosts(make_server: MakeServer) -> Callable[..., list[ServerProcess]]:
    """Starts hosts by their roles."""

    def start(*roles: str, **settings: object) -> list[ServerProcess]:
        made = [
            make_server(f"host-{number}", ROLE=role, WORKER_LEASE_SEC=LEASE_SEC, **settings)
            for number, role in enumerate(roles)
        ]
        for host in made:
            host.spawn()
        for host in made:
            host.wait_until_ready()
        return made

    return start


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


Hosts = Callable[..., list[ServerProcess]]


def test_a_run_is_read_where_it_does_not_run(hosts: Hosts) -> None:
    api, other, _ = hosts("api", "api", "worker")
    with ResearchClient(api.url) as client, ResearchClient(other.url) as elsewhere:
        frames = client.post_stream("Bridges")
        assert frames.closed == "done"
        invocation = client.request("GET", "/invocations").json()["invocations"][0]["invocation_id"]
        check_same(check_invocation(client, invocation), check_invocation(elsewhere, invocation))
        assert elsewhere.report(invocation) == client.report(invocation)


def test_an_api_host_runs_nothing_and_a_worker_answers_for_its_health_alone(hosts: Hosts, stub: ModelStub) -> None:
    (api,) = hosts("api")
    with ResearchClient(api.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        (worker,) = hosts("worker")
        with ResearchClient(worker.url) as health:
            assert health.request("GET", "/liveness").json() == {"status": "alive"}
            assert health.request("GET", "/readiness").status_code == 200
            assert health.request("GET", f"/invocations/{invocation}").status_code == 404
            assert health.request("POST", "/invocations", json={"message": "x"}).status_code == 404
        check_invocation(client, invocation)


def test_another_worker_goes_on_with_the_runs_of_one_that_was_killed(hosts: Hosts, stub: ModelStub) -> None:
    api, first = hosts("api", "worker")
    stub.hold(after_tokens=5, from_call=3)
    with ResearchClient(api.url) as client:
        runs = [client.post(f"Bridge {number}")["invocation_id"] for number in range(4)]
        stub.wait_for_calls(4, state="held")
        for number, run in enumerate(runs):
            # The beginning of the call that is held now.
            begun = sum(f"Bridge {number}" in call.asked for call in stub.calls())
            client.read_stream(run, until=nth_of_type("subcall_start", begun))
        hosts("worker")
        before = {run: client.record(run)["last_event_id"] for run in runs}
        killed = time.monotonic()
        first.kill()
        for run in runs:
            client.wait_for(run, lambda record, seen=before[run]: record["last_event_id"] > seen)  # type: ignore[misc]
        assert time.monotonic() - killed < LEASE_SEC + 2
        stub.release()
        for run in runs:
            whole = check_invocation(client, run)
            assert model_calls_repeated(whole) == 1


def test_readers_of_a_host_that_was_killed_go_on_at_another(hosts: Hosts, stub: ModelStub) -> None:
    first, second, _ = hosts("api", "api", "worker")
    stub.control(delay_ms=20)
    with ResearchClient(second.url) as client, ExitStack() as stack:
        run = client.post("Bridges")["invocation_id"]
        readers = [stack.enter_context(SteadyReader(first, run, second)) for _ in range(8)]
        client.read_stream(run, until=of_type("token"))
        for reader in readers:
            wait_until(lambda reader=reader: bool(reader.frames))  # type: ignore[misc]
        first.kill()
        whole = check_invocation(client, run)
        for reader in readers:
            reader.wait()
            reader.check(whole)
            assert reader.cuts >= 1


@pytest.mark.parametrize("asked", ["steer", "cancel", "cancel now", "roll back"])
def test_a_wish_reaches_the_worker_wherever_it_is(hosts: Hosts, stub: ModelStub, asked: str) -> None:
    api, _ = hosts("api", "worker", INTRA_PHASE_COOLDOWN_SEC=300)
    with ResearchClient(api.url) as client:
        run = client.post("Bridges", thread_id="t")["invocation_id"]
        client.read_stream(run, until=of_type("cooldown"))
        began = time.monotonic()
        if asked == "steer":
            client.post("Tunnels", thread_id="t")
        elif asked == "roll back":
            client.post("Tunnels", thread_id="t", multitask_strategy="rollback")
        else:
            client.cancel(run, mode="now" if asked.endswith("now") else "checkpoint")
        frames = client.read_stream(run, until=of_type("winding_down"))
        # Both requests, the notice, a checkpoint, a report and the last event.
        assert time.monotonic() - began < REACH_SEC + SLACK_SEC
        assert events(frames)[-1]["cause"] == ("operator_cancel" if "cancel" in asked else "steering")
        check_invocation(client, run)


def test_the_next_turn_of_a_thread_begins_at_once(hosts: Hosts) -> None:
    api, _ = hosts("api", "worker", NUM_PHASES=1, CALLS_PER_PHASE=1)
    with ResearchClient(api.url) as client:
        runs = [
            client.post(f"Bridge {number}", thread_id="t", multitask_strategy="enqueue")["invocation_id"]
            for number in range(6)
        ]
        began = time.monotonic()
        for run in runs:
            check_invocation(client, run)
        # Not once in each second, when the table is looked at anyway.
        assert time.monotonic() - began < len(runs) * 0.5 + SLACK_SEC
        turns = [client.record(run)["output"]["turn"] for run in runs]
        assert turns == list(range(1, 7))


def test_a_steer_storm_from_two_hosts_leaves_one_turn(hosts: Hosts, stub: ModelStub) -> None:
    first, second, _ = hosts("api", "api", "worker")
    stub.control(delay_ms=10)
    with ResearchClient(first.url) as one, ResearchClient(second.url) as other:
        runs = [
            client.post(f"Bridge {number}", thread_id="t")["invocation_id"]
            for number in range(15)
            for client in (one, other)
        ]
        for run in runs:
            check_invocation(one, run)
        ends = [one.record(run)["status"] for run in runs]
        assert ends[-1] == "completed"
        assert set(ends[:-1]) == {"superseded"}


def test_a_name_that_the_database_cannot_hold_is_not_there(hosts: Hosts) -> None:
    (api,) = hosts("api")
    with ResearchClient(api.url) as client:
        for path in ("/invocations/a%00b", "/invocations/a%00b/report"):
            assert client.request("GET", path).status_code == 404
        assert client.request("POST", "/invocations/a%00b/cancel").status_code == 404
        assert client.request("GET", "/threads/a%00b").status_code == 422


def test_a_nul_is_accepted_and_replaced(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(NUM_PHASES=1)
    server.start()
    with ResearchClient(server.url) as client:
        run = client.post("Brid\0ges", metadata={"a\0": "\0"}, config={"phases": ["One\0"]})["invocation_id"]
        check_invocation(client, run)
        record = client.record(run)
        assert (record["status"], record["topic"]) == ("completed", "Brid\ufffdges")
        assert record["metadata"] == {"a\0": "\0"}


def test_two_hosts_take_one_idempotency_key_once(hosts: Hosts) -> None:
    first, second, _ = hosts("api", "api", "worker")
    with ResearchClient(first.url) as one, ResearchClient(second.url) as other:
        for number in range(10):
            key = {"Idempotency-Key": f"key-{number}"}
            taken = {client.post("Bridges", headers=key)["invocation_id"] for client in (one, other)}
            assert len(taken) == 1


def test_all_runs_go_on_when_the_database_was_killed(
    make_server: MakeServer, own_postgres: PostgresServer, stub: ModelStub
) -> None:
    url = own_postgres.new_database()
    stub.control(delay_ms=10)
    roles = ("api", "worker", "worker")
    api, *workers = [
        make_server(f"host-{number}", ROLE=role, DATABASE_URL=url, WORKER_LEASE_SEC=LEASE_SEC)
        for number, role in enumerate(roles)
    ]
    for host in (api, *workers):
        host.start()
    with ResearchClient(api.url) as client, ExitStack() as stack:
        runs = [client.post(f"Bridge {number}")["invocation_id"] for number in range(6)]
        readers = [stack.enter_context(SteadyReader(api, run)) for run in runs]
        stub.wait_for_calls(8)
        own_postgres.kill()
        answer = client.request("POST", "/invocations", json={"message": "Tunnels"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        own_postgres.start()
        for reader in readers:
            reader.wait()
            whole = check_invocation(client, reader.invocation_id)
            reader.check(whole)
            assert client.record(reader.invocation_id)["status"] == "completed"
            assert model_calls_repeated(whole) <= 1
        for host in (api, *workers):
            assert not host.ended


def test_a_rolling_restart_of_all_hosts_under_fifty_runs(hosts: Hosts, stub: ModelStub) -> None:
    made = hosts("api", "api", "worker", "worker", SHUTDOWN_GRACE_SEC=2, INTRA_PHASE_COOLDOWN_SEC=0.5)
    first, second, *_ = made
    with ResearchClient(first.url) as client, ExitStack() as stack:
        runs = [client.post(f"Bridge {number}")["invocation_id"] for number in range(50)]
        readers = [stack.enter_context(SteadyReader(first, run, second)) for run in runs[:10]]
        for host in made:
            assert host.terminate() == 0
            host.start()
        for run in runs:
            client.wait_for(run, lambda record: record["ended_at"] is not None, timeout=90)
        for reader in readers:
            reader.wait()
            reader.check(check_invocation(client, reader.invocation_id))
        assert {client.record(run)["status"] for run in runs} == {"completed"}


def test_nothing_is_left_in_the_queue(hosts: Hosts, database_url: str) -> None:
    api, _ = hosts("api", "worker")
    with ResearchClient(api.url) as client:
        runs = [client.post(f"Bridge {number}")["invocation_id"] for number in range(3)]
        client.cancel(client.post("Tunnels", thread_id="t")["invocation_id"])
        for run in runs:
            check_invocation(client, run)
    with psycopg.connect(database_url) as connection:
        wait_until(lambda: connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,))
        assert connection.execute("SELECT count(*) FROM procrastinate_events").fetchone() == (0,)
