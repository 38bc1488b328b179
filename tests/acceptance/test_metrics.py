"""`GET /metrics` from outside: runs, crashes and limits are counted; dashboard and alerts ask for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import CHECKOUT
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

ALICE, BOB = "alice-planted-key-0123456789", "bob-planted-key-0123456789abc"
RUN = {"phases": 1, "calls_per_phase": 2}

Figures = dict[str, float]  # by name and labels, as `research_turns_ended_total{status="completed"}`


def figures(client: ResearchClient) -> Figures:
    """Every sample of one scrape."""
    text = client.request("GET", "/metrics").raise_for_status().text
    samples = chain.from_iterable(family.samples for family in text_string_to_metric_families(text))
    return {
        sample.name
        + (f"{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}" if sample.labels else ""): (
            sample.value
        )
        for sample in samples
    }


def names(client: ResearchClient) -> set[str]:
    """Every name that a scrape may hold, also of those that have no sample yet."""
    text = client.request("GET", "/metrics").raise_for_status().text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    parts = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    return {f"{name}{part}" for name, kind in kinds.items() for part in parts[kind]}


def used() -> set[str]:
    """Every name that the dashboard or an alert asks for, but what Prometheus makes by itself."""
    rules = (CHECKOUT / "deploy/prometheus/alerts.yml").read_text()
    expressions = re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)(?=\n +(?:for|labels):)", rules)
    dashboard = json.loads((CHECKOUT / "deploy/grafana/dashboard.json").read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return set(re.findall(r"\b(?:research|process)_\w+", " ".join(expressions)))


def rise(before: Figures, after: Figures) -> Callable[..., float]:
    return lambda name: after.get(name, 0.0) - before.get(name, 0.0)


@pytest.mark.backends("sqlite")
def test_runs_crashes_and_limits_are_counted(make_server: MakeServer, stub: ModelStub, tmp_path: Path) -> None:
    keys = tmp_path / "own-keys"
    keys.write_text(f"alice:{ALICE} turns=1\nbob:{BOB} per_minute=3\n")
    server = make_server(API_KEYS=keys)
    server.start()
    with (
        ResearchClient(server.url, headers={"x-api-key": ALICE}) as alice,
        ResearchClient(server.url, headers={"x-api-key": BOB}) as bob,
        ResearchClient(server.url) as nobody,
    ):
        assert nobody.request("GET", "/metrics").status_code == 401
        before = figures(alice)
        stub.fail({"kind": "status", "status": 429, "retry_after": "0"})
        alice.read_stream(alice.post("planted-topic", config=RUN)["invocation_id"])
        resting = alice.post("planted-topic", config={**RUN, "intra_phase_cooldown_sec": 600})["invocation_id"]
        assert alice.request("POST", "/invocations", json={"message": "planted-topic"}).status_code == 429
        assert [bob.request("GET", "/invocations").status_code for _ in range(4)] == [200, 200, 200, 429]
        alice.read_stream(resting, until=of_type("cooldown"))
        after = figures(alice)
        risen = rise(before, after)
        assert {
            name: risen(name)
            for name in (
                "research_turns_accepted_total{steering=new_topic}",
                "research_turns_started_total{entry_mode=fresh}",
                "research_turns_ended_total{status=completed}",
                "research_turn_duration_seconds_count{status=completed}",
                "research_turn_wait_seconds_count",
                "research_model_retries_total{error=OpenAIRateLimitError}",
                "research_model_rate_limited_total",
                "research_model_tokens_total{direction=output,model=openai:stub}",
                "research_subcall_duration_seconds_count{role=research}",
                "research_requests_limited_total{limit=key_turns}",
                "research_requests_limited_total{limit=key_rate}",
                "research_readers_closed_total{how=done}",
                "research_http_requests_total{method=POST,route=/invocations,status=429}",
            )
        } == {
            "research_turns_accepted_total{steering=new_topic}": 2,
            "research_turns_started_total{entry_mode=fresh}": 2,
            "research_turns_ended_total{status=completed}": 1,
            "research_turn_duration_seconds_count{status=completed}": 1,
            "research_turn_wait_seconds_count": 2,
            "research_model_retries_total{error=OpenAIRateLimitError}": 1,
            "research_model_rate_limited_total": 1,
            "research_model_tokens_total{direction=output,model=openai:stub}": 60,
            "research_subcall_duration_seconds_count{role=research}": 2,
            "research_requests_limited_total{limit=key_turns}": 1,
            "research_requests_limited_total{limit=key_rate}": 1,
            "research_readers_closed_total{how=done}": 1,
            "research_http_requests_total{method=POST,route=/invocations,status=429}": 1,
        }
        for name in (
            "research_events_written_total",
            "research_event_commit_lag_seconds_count",
            "research_event_reader_lag_seconds_count",
            "research_commit_duration_seconds_count",
            "research_commit_batch_size_count",
        ):
            assert risen(name) > 0, name
        assert after["research_turns_running"] == after["research_turns_unfinished{status=running}"] == 1
        assert after["research_turns_capacity"] == 64
        assert after["research_database_up"] == 1
        assert after["process_resident_memory_bytes"] > 10_000_000
        shown = alice.request("GET", "/metrics").text
        assert not [word for word in ("planted", "alice", "bob", resting) if word in shown]
        server.restart()
        alice.cancel(resting)
        alice.wait_for(resting, lambda record: record["status"] == "cancelled")
        again = figures(alice)
        assert again["research_turns_started_total{entry_mode=recovered}"] == 1
        assert again["research_turns_ended_total{status=cancelled}"] == 1
        assert again["research_turns_running"] == 0


@pytest.mark.backends("sqlite")
def test_open_readers_are_counted_until_they_go(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with ResearchClient(server.url) as client:
        resting = client.post("Tides", config={**RUN, "intra_phase_cooldown_sec": 600})["invocation_id"]
        with httpx2.stream("GET", f"{server.url}/invocations/{resting}", trust_env=False) as stream:
            chunks = stream.iter_bytes()
            next(chunks)
            assert figures(client)["research_readers"] == 1
        wait_until(lambda: figures(client)["research_readers"] == 0)
        assert figures(client)["research_readers_closed_total{how=cut}"] == 1
        of_postgres = {"research_leases_held", "research_lease_age_seconds"}
        assert used() - of_postgres <= names(client)


@pytest.mark.backends("postgres")
def test_a_worker_tells_its_leases_and_knows_every_name_of_dashboard_and_alerts(
    make_server: MakeServer, stub: ModelStub
) -> None:
    api, worker = make_server("api", ROLE="api"), make_server("worker", ROLE="worker")
    for host in (api, worker):
        host.spawn()
    for host in (api, worker):
        host.wait_until_ready()
    with ResearchClient(api.url) as client, ResearchClient(worker.url) as health:
        resting = client.post("Tides", config={**RUN, "intra_phase_cooldown_sec": 600})["invocation_id"]
        client.read_stream(resting, until=of_type("cooldown"))
        held = figures(health)
        assert held["research_leases_held"] == held["research_turns_running"] == 1
        assert 0 <= held["research_lease_age_seconds"] < 10
        shown = figures(client)
        assert shown["research_turns_unfinished{status=running}"] == 1
        assert shown["research_turns_running"] == shown["research_turns_capacity"] == 0
        of_sqlite = {"research_disk_size_bytes", "research_disk_free_bytes", "research_data_bytes"}
        assert used() - of_sqlite <= names(health)
        assert len(used()) > 30
        client.cancel(resting)
        client.wait_for(resting, lambda record: record["status"] == "cancelled")
