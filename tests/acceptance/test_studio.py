"""LangGraph Studio's side: `make studio`, and what Studio does over LangGraph's API, with its own SDK."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.schema import ThreadState

from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.studio_process import StudioProcess
from tests.acceptance.tools import needed
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

Client = SyncLangGraphClient
CONTEXT: dict[str, Any] = {"model": "openai:stub", "num_phases": 2, "calls_per_phase": 2}


def environment(stub: ModelStub) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-planted-secret", "OPENAI_BASE_URL": stub.base_url}


@pytest.fixture(scope="module")
def studio(stub_process: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioProcess]:
    """One for the tests that leave it running."""
    needed("langgraph")
    with StudioProcess(tmp_path_factory.mktemp("studio"), environment(stub_process)) as studio:
        yield studio


def thread_of(client: Client) -> str:
    return client.threads.create()["thread_id"]


def parts_of(client: Client, thread: str, **options: Any) -> list[Any]:
    """Runs a turn, or goes on with one, until it ends or asks; its stream."""
    context = CONTEXT | options.pop("context", {})
    stream = client.runs.stream(
        thread, "research", context=context, stream_mode=["custom", "messages-tuple", "updates"], **options
    )
    return list(stream)


def values_of(state: ThreadState) -> Json:
    return cast(Json, state["values"])


def question(client: Client, thread: str) -> Json:
    (asked,) = client.threads.get_state(thread)["interrupts"]
    return cast(Json, asked)


def answer(client: Client, thread: str, **directive: str) -> list[Any]:
    return parts_of(client, thread, command={"resume": directive}, context={"review": "phase"})


def named(shape: Json, schema: Json) -> Json:
    """The shape of a field, with that of the type it refers to."""
    return {**schema["$defs"][shape["$ref"].rpartition("/")[2]], **shape} if "$ref" in shape else shape


def test_input_state_and_context_are_forms(studio: StudioProcess, stub: ModelStub) -> None:
    (assistant,) = studio.client.assistants.search()
    assert assistant["graph_id"] == "research"
    assert "cites its sources" in str(assistant["description"])
    schemas = studio.client.assistants.get_schemas(assistant["assistant_id"])
    for name in ("input_schema", "state_schema", "context_schema"):
        fields = cast(Json, schemas)[name]["properties"]
        shapes = {field: named(shape, cast(Json, schemas)[name]) for field, shape in fields.items()}
        bare = [field for field, shape in shapes.items() if not (shape.get("title") and shape.get("description"))]
        assert bare == [], name
    context, given = cast(Json, schemas)["context_schema"], cast(Json, schemas)["input_schema"]
    assert all("default" in shape for shape in context["properties"].values())
    assert context["properties"]["review"]["enum"] == ["never", "phase"]
    assert given["properties"]["steering"]["default"] == "new_topic"


def test_a_cooldown_is_answered_by_its_form(studio: StudioProcess, stub: ModelStub) -> None:
    client = studio.client
    thread = thread_of(client)
    resting = {"intra_phase_cooldown_sec": 600, "num_phases": 1}
    parts_of(client, thread, input={"topic": "Tides"}, context=resting)
    asked = question(client, thread)
    assert (asked["value"]["kind"], asked["value"]["duration_sec"]) == ("cooldown", 600)
    form = asked["response_schema"]["properties"]
    assert form["action"]["enum"] == ["continue", "steer", "stop"]
    assert all(shape["title"] and shape["description"] for shape in form.values())
    parts_of(client, thread, command={"resume": {"action": "continue"}}, context=resting)
    state = client.threads.get_state(thread)
    assert state["next"] == []
    assert "# Research report: Tides" in values_of(state)["report"]
    assert len(stub.calls()) == 2


def test_a_cooldown_may_be_answered_with_stop(studio: StudioProcess, stub: ModelStub) -> None:
    client = studio.client
    thread = thread_of(client)
    parts_of(client, thread, input={"topic": "Tides"}, context={"intra_phase_cooldown_sec": 600})
    parts_of(client, thread, command={"resume": {"action": "stop"}}, context={"intra_phase_cooldown_sec": 600})
    values = values_of(client.threads.get_state(thread))
    assert values["stop"] == "operator_cancel"
    assert "cancelled" in values["report"]


def test_a_review_stops_behind_a_phase_and_steers(studio: StudioProcess, stub: ModelStub) -> None:
    client = studio.client
    thread = thread_of(client)
    parts = parts_of(client, thread, input={"topic": "Tides"}, context={"review": "phase"})
    told = [part.data["type"] for part in parts if part.event == "custom"]
    assert {"phase_start", "subcall_start", "token"} <= set(told)
    assert any(part.event.startswith("messages") for part in parts)
    asked = question(client, thread)["value"]
    assert (asked["kind"], asked["phase"], asked["total"]) == ("review", 1, 2)
    assert asked["title"]
    assert asked["text"].strip()
    answer(client, thread, action="steer", message="Only spring tides", steering="guidance")
    assert question(client, thread)["value"]["phase"] == 2
    assert any("Only spring tides" in call.asked for call in stub.calls())
    answer(client, thread, action="continue")
    state = client.threads.get_state(thread)
    assert state["next"] == []
    assert [entry["steering"] for entry in values_of(state)["asked"]] == ["new_topic", "guidance"]


def test_history_is_read_and_an_earlier_checkpoint_forked(studio: StudioProcess, stub: ModelStub) -> None:
    client = studio.client
    thread = thread_of(client)
    parts_of(client, thread, input={"topic": "Tides"})
    history = client.threads.get_history(thread, limit=50)
    assert [state["next"] for state in history][:2] == [[], ["report"]]
    assert len(stub.calls()) == 4
    before = next(state for state in history if state["next"] == ["phase"] and values_of(state)["phase"] == 2)
    assert len(cast(Json, before["values"])["findings"]) == 2
    forked = client.threads.update_state(thread, {"plan": ["One", "Another end"]}, checkpoint=before["checkpoint"])
    parts_of(client, thread, input=None, checkpoint=cast(Any, forked["checkpoint"]))
    assert len(stub.calls()) == 6
    values = values_of(client.threads.get_state(thread))
    assert "Another end" in values["report"]
    assert len(values["findings"]) == 4
    assert len(client.threads.get_history(thread, limit=100)) > len(history)


def test_the_invocations_api_is_there_as_well(studio: StudioProcess, stub: ModelStub) -> None:
    with ResearchClient(studio.url) as client:
        assert client.request("GET", "/readiness").json() == {"status": "ready"}
        config = {"phases": 1, "calls_per_phase": 1, "model": "openai:stub"}
        check_invocation(client, client.post("Bridges", config=config)["invocation_id"])
        refused = client.request("POST", "/invocations", json={})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        # LangGraph's own threads are not shadowed.
        assert client.request("GET", "/threads/t").json()["detail"] == "Invalid thread ID: must be a UUID"


def test_nothing_was_asked_of_a_network(studio: StudioProcess, stub: ModelStub) -> None:
    assert not studio.beyond.exists(), studio.beyond.read_text()


def test_killed_in_the_middle_of_a_model_call_it_goes_on(stub: ModelStub, tmp_path: Path) -> None:
    needed("langgraph")
    with StudioProcess(tmp_path / "studio", environment(stub)) as studio:
        client = studio.client
        thread = thread_of(client)
        stub.hold(after_tokens=5, from_call=3)
        # LangGraph's default writes checkpoints behind the run: a stub that answers at once is far ahead of the disk.
        client.runs.create(thread, "research", input={"topic": "Tides"}, context=CONTEXT, durability="sync")
        stub.wait_for_calls(1, state="held")
        studio.kill()
        stub.release()
        studio.start()
        # The dev server writes its own list of threads every 10 s; the thread's checkpoints are ours.
        client.threads.create(thread_id=thread, if_exists="do_nothing")
        client.runs.join(thread, client.runs.create(thread, "research", context=CONTEXT)["run_id"])
        state = client.threads.get_state(thread)
        assert "# Research report: Tides" in values_of(state)["report"]
        assert len(stub.calls()) == 5


def test_it_runs_beside_a_server_on_data_dir_and_alone_on_its_own(stub: ModelStub, tmp_path: Path) -> None:
    needed("langgraph")
    folder = tmp_path / "studio"
    env = environment(stub) | {"DATA_DIR": str(folder / "data")}
    with ServerProcess(folder / "data", env), StudioProcess(folder, env):
        second = StudioProcess(folder, env)
        second.log = folder / "second.log"
        assert _exit_code(second) != 0
    said = second.log.read_text()
    assert "is in use by another server" in said
    assert "Traceback" not in said


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    needed("langgraph")
    studio = StudioProcess(tmp_path / "studio", {"NUM_PHASES": "0"})
    assert _exit_code(studio) != 0
    said = studio.log.read_text()
    assert "error: NUM_PHASES:" in said
    assert "Traceback" not in said


def _exit_code(studio: StudioProcess) -> int:
    try:
        return studio.spawn().wait(60)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"it did not end:\n{studio.log.read_text()}") from error
    finally:
        studio.kill()
