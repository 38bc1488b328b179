"""What clients send: media types, positions, names, JSON, and the bodies' fields."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from server.problems import Problem
from server.requests import MAX_BODY_BYTES, StartRequest, checked_name, position_of, prefers, read_json, read_start

STREAM, JSON = "text/event-stream", "application/json"


def request(headers: list[tuple[str, str]] | None = None, query: str = "", body: bytes = b"") -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers or []]
    chunks = [body[at : at + 60_000] for at in range(0, len(body), 60_000)] or [b""]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    queue: list[Message] = [*messages, {"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return queue.pop(0)

    services = SimpleNamespace(settings=SimpleNamespace(slow_client_sec=60))
    asked = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode()}
    scope: dict[str, Any] = {**asked, "headers": raw, "state": {"services": services}}
    return Request(scope, receive)


def parsed(body: bytes | str) -> Any:
    return asyncio.run(read_json(request(body=body.encode() if isinstance(body, str) else body)))


def started(body: Any) -> StartRequest:
    return asyncio.run(read_start(request(body=json.dumps(body).encode())))


def refused(body: bytes | str) -> Problem:
    with pytest.raises(Problem) as caught:
        parsed(body)
    return caught.value


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ([], False),
        (["*/*"], False),
        (["text/event-stream"], True),
        (["TEXT/Event-Stream"], True),
        (["application/json"], False),
        (["text/*"], True),
        (["application/*"], False),
        (["text/event-stream, application/json"], False),
        (["text/event-stream, application/json;q=0.9"], True),
        (["text/event-stream;q=0.5, application/json;q=0.9"], False),
        (["text/event-stream ; q=0.9, */* ; q=0.1"], True),
        (["*/*, text/event-stream;q=0"], False),
        (["text/event-stream;charset=utf-8"], True),
        (["application/json;q=0.1", "text/event-stream"], True),
        (["text/event-stream;q=much, application/json;q=0.1"], False),
        ([",,;;"], False),
    ],
)
def test_accept(accept: list[str], stream: bool) -> None:
    assert prefers(request([("accept", value) for value in accept]), STREAM, over=JSON) == stream


@pytest.mark.parametrize(
    ("query", "header", "position"),
    [
        ("", None, 0),
        ("", "7", 7),
        ("last_event_id=3", None, 3),
        ("last_event_id=3", "7", 3),
        ("last_event_id=0", "7", 0),
        ("last_event_id=007", None, 7),
        ("last_event_id=3", "nonsense", 3),
        ("last_event_id=" + "9" * 5000, None, 10**18),
    ],
)
def test_position(query: str, header: str | None, position: int) -> None:
    headers = [("last-event-id", header)] if header is not None else []
    assert position_of(request(headers, query)) == position


@pytest.mark.parametrize(
    "value", ["", "-1", "1.0", "1e3", "+1", "0x1", "1_000", "abc", "%20", "%D9%A3", "1%0A", "null"]
)
def test_a_position_that_is_no_whole_number_is_refused_by_name(value: str) -> None:
    with pytest.raises(Problem) as caught:
        position_of(request(query=f"last_event_id={value}"))
    assert caught.value.status == 422
    assert caught.value.errors[0]["field"] == "last_event_id"


@pytest.mark.parametrize("name", ["a", "A-Z_0.9:x", "x" * 128])
def test_good_names(name: str) -> None:
    assert checked_name(name, "thread_id") == name
    assert started({"message": "m", "thread_id": name}).thread_id == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a/b", "ä", "a\n", "..\\", "\0", "a\ud800"])
def test_bad_names_are_refused_by_their_field(name: str) -> None:
    for refuse in (lambda: checked_name(name, "thread_id"), lambda: started({"message": "m", "thread_id": name})):
        with pytest.raises(Problem) as caught:
            refuse()
        assert caught.value.status == 422
        assert caught.value.errors[0]["field"] in ("thread_id", "body")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x), max_leaves=20))
def test_json_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    assert parsed(text) == value


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1} x',
        b"\xff",
        b'{"a": "\xed\xa0\x80"}',
        "\ufeff{}",
        "[" * 100_000,
        '{"a":' * 40_000,
        '{"a": 1' + "0" * 5000 + "}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_is_400(body: bytes | str) -> None:
    assert refused(body).status == 400


@pytest.mark.parametrize("body", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '["\\ud800x"]', '"\\udc00\\ud800"'])
def test_a_lone_surrogate_is_422(body: str) -> None:
    assert refused(body).status == 422


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parsed('"\\ud83d\\ude00"') == "😀"


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert parsed('{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("depth", range(100, 1200, 25))
def test_depth_is_either_read_or_refused(depth: int) -> None:
    with contextlib.suppress(Problem):
        assert parsed("[" * depth + "]" * depth) is not None


def test_the_largest_body_is_read_and_one_byte_more_is_413() -> None:
    largest = '"' + "x" * (MAX_BODY_BYTES - 2) + '"'
    assert len(parsed(largest)) == MAX_BODY_BYTES - 2
    assert refused(largest + " ").status == 413


@pytest.mark.parametrize("body", [[], [1], 1, 1.5, "text", None, True])
def test_json_that_is_no_object_is_422(body: Any) -> None:
    with pytest.raises(Problem) as caught:
        started(body)
    assert (caught.value.status, caught.value.errors[0]["field"]) == (422, "body")


def test_what_is_left_out_has_the_protocols_defaults() -> None:
    body = started({"topic": "  Tides  "})
    assert (body.text, body.multitask_strategy, body.steering) == ("Tides", "interrupt", "new_topic")
    assert body.metadata == {}
    assert body.config.model_dump(exclude_none=True) == {}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t"}, "message"),
        ({"message": None}, "message"),
        ({"message": 7}, "message"),
        ({"message": ["m"]}, "message"),
        ({"message": "x" * 32_001}, "message"),
        ({"topic": "x" * 32_001}, "topic"),
        ({"message": "m", "thread_id": 7}, "thread_id"),
        ({"message": "m", "multitask_strategy": "later"}, "multitask_strategy"),
        ({"message": "m", "steering": "resume"}, "steering"),
        ({"message": "m", "metadata": []}, "metadata"),
        ({"message": "m", "mesage": "typo"}, "mesage"),
        ({"message": "m", "config": []}, "config"),
        ({"message": "m", "config": {"speed": 1}}, "config.speed"),
        ({"message": "m", "config": {"phases": 0}}, "phases"),
        ({"message": "m", "config": {"phases": 1001}}, "phases"),
        ({"message": "m", "config": {"phases": []}}, "phases"),
        ({"message": "m", "config": {"phases": [" "]}}, "config.phases"),
        ({"message": "m", "config": {"phases": "3"}}, "config.phases"),
        ({"message": "m", "config": {"phases": True}}, "config.phases"),
        ({"message": "m", "config": {"phases": 2.5}}, "config.phases"),
        ({"message": "m", "config": {"phases": ["x"] * 1001}}, "phases"),
        ({"message": "m", "config": {"calls_per_phase": 0}}, "config.calls_per_phase"),
        ({"message": "m", "config": {"calls_per_phase": "4"}}, "config.calls_per_phase"),
        ({"message": "m", "config": {"target_output_tokens": 1}}, "config.target_output_tokens"),
        ({"message": "m", "config": {"intra_phase_cooldown_sec": -1}}, "config.intra_phase_cooldown_sec"),
        ({"message": "m", "config": {"inter_phase_cooldown_sec": 90_000}}, "config.inter_phase_cooldown_sec"),
        ({"message": "m", "config": {"run_timeout_sec": 0}}, "config.run_timeout_sec"),
        ({"message": "m", "config": {"token_budget": 1}}, "config.token_budget"),
        ({"message": "m", "config": {"model": "gpt-5"}}, "config.model"),
        ({"message": "m", "config": {"model": "offline\n"}}, "config.model"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_wrong_body_is_422_and_its_detail_names_the_field(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as caught:
        started(wrong)
    assert caught.value.status == 422
    assert named in caught.value.detail
    assert all(set(error) == {"field", "message"} for error in caught.value.errors)


@pytest.mark.parametrize(
    ("wrong", "field"), [({"phases": 0}, "config.phases"), ({"phases": []}, "config.phases"), (None, "message")]
)
def test_errors_name_the_field_itself(wrong: dict[str, Any] | None, field: str) -> None:
    with pytest.raises(Problem) as caught:
        started({} if wrong is None else {"message": "m", "config": wrong})
    assert caught.value.errors[0]["field"].startswith(field)


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(Problem) as caught:
        started({"message": 1, "steering": 2, "config": {"model": 3}})
    assert [error["field"] for error in caught.value.errors] == ["message", "steering", "config.model"]


def test_a_number_beyond_floats_is_no_cooldown() -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(read_start(request(body=b'{"message": "m", "config": {"intra_phase_cooldown_sec": 1e400}}')))
    assert "config.intra_phase_cooldown_sec" in caught.value.detail


def test_a_number_beyond_floats_is_refused_wherever_it_stands() -> None:
    """It could be stored, but no record that holds it could be written as JSON again."""
    with pytest.raises(Problem):
        asyncio.run(read_start(request(body=b'{"message": "m", "metadata": {"n": 1e400}}')))
