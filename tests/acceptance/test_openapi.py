"""`openapi.json` is that of the code, tells of every event and error, and no request made from it finds a fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from server.access import OPEN_PATHS
from server.openapi import FILE, text
from server.operations import OPERATIONS
from tests.acceptance.client import Json, ResearchClient, of_type
from tests.acceptance.event_shapes import FIELDS
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.test_keys import BOB
from tests.acceptance.transcript import events
from tests.openai_stub.process import ModelStub

ENDED = "crashes-1"
RUN = {"NUM_PHASES": "1", "CALLS_PER_PHASE": "2", "INTRA_PHASE_COOLDOWN_SEC": "0", "MAX_CONCURRENT_RUNS": "1"}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with an ended turn of the name that the examples use, and one that rests: all others wait for it."""
    with ServerProcess(tmp_path_factory.mktemp("fuzzed") / "data", RUN) as server:
        with ResearchClient(server.url) as client:
            client.post("Bridges", thread_id="crashes", headers={"x-agent-invocation-id": ENDED})
            assert client.read_stream(ENDED).closed == "done"
            resting = {"phases": 2, "calls_per_phase": 2, "intra_phase_cooldown_sec": 86_400}
            busy = client.post("Dams", config=resting)["invocation_id"]
            client.read_stream(busy, until=of_type("cooldown"))
            kept = client.request("POST", "/documents", params={"name": "bridges.md"}, content="# Bridges\n\nSpans.")
            KNOWN["document_id"] = kept.json()["document_id"]
        yield server


# What the server above knows; the id of a document is its own.
KNOWN = {"invocation_id": ENDED, "thread_id": "crashes"}
FUZZ = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _cases() -> Iterator[tuple[str, str, GenerationMode, bool]]:
    """Every operation with right and wrong values, and with names that the server knows. Erasing them comes last."""
    for method in ("get", "post", "delete"):
        for path in [path for path, its_method in OPERATIONS if its_method == method]:
            takes = bool(OPERATIONS[path, method].get("parameters"))
            for mode in list(GenerationMode) if takes else [GenerationMode.POSITIVE]:
                yield from ((path, method, mode, known) for known in ([False, True] if "{" in path else [False]))


def _without_documents(case: Case[Any]) -> None:
    """No schema can say which documents there are."""
    if isinstance(case.body, dict) and isinstance(config := case.body.get("config"), dict):
        config.pop("documents", None)


@pytest.mark.parametrize(("path", "method", "mode", "known"), list(_cases()))
def test_a_request_made_from_the_document_gets_an_answer_that_is_in_it(
    fuzzed: ServerProcess, path: str, method: str, mode: GenerationMode, known: bool
) -> None:
    loaded: Any = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")
    operation = loaded[path][method]
    declared = {parameter["name"] for parameter in OPERATIONS[path, method].get("parameters", [])}

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        if known:
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters}
        elif method == "get":
            # The stream of a turn that waits, which may be met by chance, does not end.
            case.headers["Accept"] = "application/json"
        _without_documents(case)
        # Made right above, or wrong only by what is passed over as the protocol says: an unknown query, or the header
        # beside the query that wins over it.
        query = set(case.query or {})
        accepted = known or not query <= declared or "last_event_id" in query
        excluded: list[Any] = [negative_data_rejection] if accepted else []
        # No schema can say which bytes are a document that can be read.
        excluded += [positive_data_acceptance] if (path, method) == ("/documents", "post") else []
        case.call_and_validate(excluded_checks=excluded, timeout=20)

    check()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with keys, whose turns wait for one that rests."""
    with ServerProcess(tmp_path_factory.mktemp("keyed") / "data", {**RUN, "API_KEYS": f"bob:{BOB}"}) as server:
        with ResearchClient(server.url, headers={"x-api-key": BOB}) as client:
            resting = {"phases": 2, "calls_per_phase": 2, "intra_phase_cooldown_sec": 86_400}
            busy = client.post("Dams", config=resting)["invocation_id"]
            client.read_stream(busy, until=of_type("cooldown"))
        yield server


KEY = {"x-api-key": BOB}


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method in OPERATIONS if path != "/session"])
def test_with_a_key_the_same_and_without_one_nothing(keyed: ServerProcess, path: str, method: str) -> None:
    loaded: Any = schemathesis.openapi.from_url(f"{keyed.url}/openapi.json")

    @settings(FUZZ, max_examples=5)
    @given(case=loaded[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def check(case: Case[Any]) -> None:
        case.headers["Accept"] = "application/json"
        for name in ("Authorization", "x-api-key"):
            case.headers.pop(name, None)
        case.cookies.clear()
        refused = case.call(timeout=20)
        assert (refused.status_code == 401) == (path not in OPEN_PATHS), refused.text
        _without_documents(case)
        excluded: list[Any] = [positive_data_acceptance] if (path, method) == ("/documents", "post") else []
        case.call_and_validate(excluded_checks=excluded, headers=KEY, timeout=20)

    check()


def test_the_file_is_that_of_the_code() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "make openapi"


def test_make_openapi_writes_it() -> None:
    # Over a copy of itself: nothing changes where the test above holds.
    before = FILE.read_bytes()
    subprocess.run([sys.executable, "-m", "server.openapi"], cwd=FILE.parent, check=True)
    assert FILE.read_bytes() == before


def document() -> Json:
    loaded: Json = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def test_it_is_sound_openapi_with_examples_that_fit() -> None:
    whole = document()
    assert whole["openapi"].startswith("3.1")
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            contents = [answer.get("content", {}) for answer in operation["responses"].values()]
            contents.append(operation.get("requestBody", {}).get("content", {}))
            for kind, content in (item for found in contents for item in found.items()):
                for example in examples_of(content):
                    validator(whole, content["schema"]).validate(example)
                assert kind, where


def examples_of(content: Json) -> list[Any]:
    named = [example["value"] for example in content.get("examples", {}).values()]
    return named + ([content["example"]] if "example" in content else [])


def validator(whole: Json, part: Json) -> Draft202012Validator:
    return Draft202012Validator({**part, "components": whole["components"]})


def test_every_word_of_a_schema_is_json_schema_s() -> None:
    # pydantic writes `ge` where a limit stands behind a validator, and nobody heeds it.
    assert re.findall(r'"(?:ge|gt|le|lt|multiple_of|min_length|max_length)":', FILE.read_text(encoding="utf-8")) == []


def test_every_event_of_the_protocol_has_its_schema() -> None:
    union = document()["components"]["schemas"]["Event"]
    assert set(union["discriminator"]["mapping"]) == set(FIELDS)
    assert union["discriminator"]["propertyName"] == "type"


def test_the_events_of_a_run_fit_their_schemas(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.fail({"kind": "status", "status": 503, "retry_after": "0"})
    whole = document()
    check = validator(whole, {"$ref": "#/components/schemas/Event"})
    config = {"phases": 2, "calls_per_phase": 2, "intra_phase_cooldown_sec": 0.01}
    stub.hold(after_tokens=2, from_call=3)
    invocation = client.post("Bridges", config=config)["invocation_id"]
    stub.wait_for_calls(1, state="held")
    server.kill()
    stub.release()
    server.start()
    told = events(client.read_stream(invocation))
    for event in told:
        check.validate(event)
    kinds = {event["type"] for event in told}
    assert {"recovered", "retrying", "cooldown", "sources", "run_complete"} <= kinds
    assert not check.is_valid({**told[0], "entry_mode": "again"})


@pytest.mark.parametrize("status", ["400", "404", "409", "410", "413", "422", "429", "503"])
def test_every_error_is_documented_somewhere_as_a_problem(status: str) -> None:
    answers = [
        operation["responses"].get(status) for path in document()["paths"].values() for operation in path.values()
    ]
    told = [answer for answer in answers if answer]
    assert told
    assert all(list(answer["content"]) == ["application/problem+json"] for answer in told)
