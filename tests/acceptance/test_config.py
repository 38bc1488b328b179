"""A turn's own settings: which are taken, which refused, and that a restart does not change them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.client import Frames, Json, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

pytestmark = pytest.mark.any_backend

LONG_RESTS = {"INTRA_PHASE_COOLDOWN_SEC": 600, "INTER_PHASE_COOLDOWN_SEC": 600}
NOT_A_NUMBER: list[object] = ["3", True, [], {}]
BAD: dict[str, list[object]] = {
    "phases": [0, -1, 1001, 2.5, "3", True, {}, [], [""], ["  "], ["x" * 201], [7], [None], ["Loads"] * 1001],
    "calls_per_phase": [0, -1, 101, 1.5, *NOT_A_NUMBER],
    "target_output_tokens": [0, 15, 100_001, 99.5, *NOT_A_NUMBER],
    "intra_phase_cooldown_sec": [-0.1, 86_401, *NOT_A_NUMBER],
    "inter_phase_cooldown_sec": [-0.1, 86_401, *NOT_A_NUMBER],
    "run_timeout_sec": [0, -1, 31_536_001, *NOT_A_NUMBER],
    "token_budget": [0, 99, 1_000_000_001, 1e3 + 0.5, *NOT_A_NUMBER],
    "model": ["", "gpt-5", "openai:", "OFFLINE", "offline ", "openai:" + "x" * 200, 7, ["offline"]],
    "unknown": [1, None],
    "num_phases": [3],
    "phase_titles": [["Loads"]],
}


def run(client: ResearchClient, **config: object) -> Frames:
    return check_invocation(client, client.post("Bridges", config=config)["invocation_id"])


def test_bad_settings_are_named_and_change_nothing(client: ResearchClient, stub: ModelStub) -> None:
    wrong: list[object] = []
    for name, values in BAD.items():
        for value in values:
            body = {"message": "Bridges", "thread_id": "t", "config": {"calls_per_phase": 2, name: value}}
            answer = client.request("POST", "/invocations", json=body)
            fields = [error["field"] for error in answer.json().get("errors", [])]
            named = fields and all(field.split(".")[:2] == ["config", name] for field in fields)
            told = answer.json().get("detail", "").startswith(f"config.{name}")
            problem = answer.headers["content-type"] == "application/problem+json"
            if (answer.status_code, bool(named), told, problem) != (422, True, True, True):
                wrong.append((name, str(value)[:40], answer.status_code, fields[:2]))
    assert wrong == []
    assert client.request("GET", "/threads/t").status_code == 404
    assert stub.calls() == []


def test_all_bad_settings_are_told_at_once(client: ResearchClient) -> None:
    config = {"calls_per_phase": 0, "token_budget": 1, "model": "other"}
    answer = client.request("POST", "/invocations", json={"message": "Bridges", "config": config})
    fields = sorted(error["field"] for error in answer.json()["errors"])
    assert fields == ["config.calls_per_phase", "config.model", "config.token_budget"]


@pytest.mark.parametrize("config", [[], "fast", 3, True])
def test_config_is_an_object(client: ResearchClient, config: object) -> None:
    answer = client.request("POST", "/invocations", json={"message": "Bridges", "config": config})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("config")


def test_a_bad_setting_leaves_a_busy_thread_alone(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=1)
    invocation = client.post("Bridges", thread_id="t")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    body = {"message": "Dams", "thread_id": "t", "config": {"phases": 0}}
    assert client.request("POST", "/invocations", json=body).status_code == 422
    stub.release()
    frames = check_invocation(client, invocation)
    assert events(frames)[-1]["type"] == "run_complete"
    assert not [event for event in events(frames) if event["type"] == "steering"]


def test_each_setting_goes_before_the_server_s(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(NUM_PHASES=9, CALLS_PER_PHASE=7, TOKEN_BUDGET=100, RUN_TIMEOUT_SEC=600, **LONG_RESTS)
    server.start()
    config = {
        "phases": ["Loads and spans", "Ströme & <Winde>"],
        "calls_per_phase": 3,
        "target_output_tokens": 123,
        "intra_phase_cooldown_sec": 0,
        "inter_phase_cooldown_sec": 0.05,
        "token_budget": 1_000_000,
        "run_timeout_sec": 300.5,
        "model": "openai:another",
    }
    with ResearchClient(server.url) as client:
        frames = run(client, **config)
    start, last = events(frames)[0], events(frames)[-1]
    assert (start["total_phases"], start["calls_per_phase"], start["model"]) == (2, 3, "openai:another")
    titles = [event["title"] for event in events(frames) if event["type"] == "phase_start"]
    assert titles == config["phases"]
    (rest,) = [event for event in events(frames) if event["type"] == "cooldown"]
    assert (rest["stage"], rest["duration_sec"]) == ("inter_phase", 0.05)
    assert (last["type"], last["phases_completed"]) == ("run_complete", 2)
    calls = stub.calls()
    assert len(calls) == 6
    assert {call.model for call in calls} == {"another"}
    assert all('tokens="123"' in call.asked for call in calls)


def test_a_turn_may_use_the_embedded_model(client: ResearchClient, stub: ModelStub) -> None:
    frames = run(client, model="offline", phases=1, calls_per_phase=1, target_output_tokens=16)
    assert events(frames)[0]["model"] == "offline"
    assert stub.calls() == []


def test_settings_left_out_or_null_are_the_server_s(client: ResearchClient) -> None:
    names = ("phases", "calls_per_phase", "token_budget", "run_timeout_sec", "model", "inter_phase_cooldown_sec")
    for config in ({}, dict.fromkeys(names)):
        start = events(run(client, **config))[0]
        assert (start["total_phases"], start["calls_per_phase"], start["model"]) == (3, 2, "openai:stub")


def other_settings(server: ServerProcess) -> None:
    server.set_env(
        NUM_PHASES="7",
        CALLS_PER_PHASE="1",
        TARGET_OUTPUT_TOKENS="99",
        INTRA_PHASE_COOLDOWN_SEC="600",
        INTER_PHASE_COOLDOWN_SEC="600",
        RUN_TIMEOUT_SEC="0.001",
        TOKEN_BUDGET="100",
        RESEARCH_MODEL="openai:other",
    )


@pytest.mark.parametrize("config", [{}, {"phases": ["One", "Two", "Three"]}])
def test_other_settings_do_not_change_a_run_under_way(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, config: Json
) -> None:
    stub.hold(after_tokens=5, from_call=3)
    running = client.post("Bridges", thread_id="t", config=config)["invocation_id"]
    stub.wait_for_calls(1, state="held")
    waiting = client.post("Dams", thread_id="t", multitask_strategy="enqueue", config=config)["invocation_id"]
    server.kill()
    stub.release()
    other_settings(server)
    server.start()
    for invocation in (running, waiting):
        frames = check_invocation(client, invocation)
        starts = [event for event in events(frames) if event["type"] == "run_start"]
        told = {(event["total_phases"], event["calls_per_phase"], event["model"]) for event in starts}
        assert told == {(3, 2, "openai:stub")}
        assert not [event for event in events(frames) if event["type"] == "cooldown"]
        assert events(frames)[-1]["type"] == "run_complete"
    calls = stub.calls()
    assert {call.model for call in calls} == {"stub"}
    assert not any('tokens="99"' in call.asked for call in calls)
    # A new turn has the new settings.
    fresh = client.post("Roads", config={"run_timeout_sec": 60})["invocation_id"]
    start = events(client.read_stream(fresh, until=of_type("run_start")))[0]
    assert (start["total_phases"], start["calls_per_phase"], start["model"]) == (7, 1, "openai:other")


def test_a_cooldown_under_way_keeps_its_length(server: ServerProcess, client: ResearchClient) -> None:
    config = {"phases": 2, "calls_per_phase": 1, "inter_phase_cooldown_sec": 2}
    invocation = client.post("Bridges", config=config)["invocation_id"]
    client.read_stream(invocation, until=of_type("cooldown"))
    server.kill()
    other_settings(server)
    server.start()
    frames = check_invocation(client, invocation)
    (rest,) = [event for event in events(frames) if event["type"] == "cooldown"]
    assert rest["duration_sec"] == 2
    assert events(frames)[-1]["type"] == "run_complete"
