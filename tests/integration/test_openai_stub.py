"""A real `ChatOpenAI` reads the stub: what it says, how it fails, where it waits."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.openai_stub import ModelStub, fingerprint, tokens_of

PROMPT = "what is a checkpoint"
MESSAGES = [{"role": "user", "content": PROMPT}]
TOKENS = tokens_of(fingerprint(MESSAGES), 5)
HTTP_DATE = email.utils.formatdate(1_800_000_000, usegmt=True)


@pytest.fixture(scope="module")
def running() -> Iterator[ModelStub]:
    with ModelStub() as stub:
        yield stub


@pytest.fixture
def stub(running: ModelStub) -> ModelStub:
    running.control(reset=True, tokens=5)
    return running


def chat(stub: ModelStub, *, timeout: float = 30, streaming: bool = True) -> ChatOpenAI:
    return ChatOpenAI(
        model="stub",
        base_url=stub.base_url,
        api_key=SecretStr("k"),
        max_retries=0,
        streaming=streaming,
        stream_usage=True,
        timeout=timeout,
    )


def pieces(chunks: Iterator[AIMessageChunk]) -> Iterator[str]:
    return (str(chunk.content) for chunk in chunks if chunk.content)


def read(model: ChatOpenAI, got: list[str]) -> None:
    got.extend(pieces(model.stream(PROMPT)))


def test_a_stream_has_its_tokens_and_its_usage(stub: ModelStub) -> None:
    chunks = list(chat(stub).stream(PROMPT))
    assert list(pieces(iter(chunks))) == TOKENS
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [(u["input_tokens"], u["output_tokens"]) for u in usage] == [(4, 5)]
    [call] = stub.wait_for_calls(1, state="finished")
    assert (call.number, call.status, call.tokens_sent, call.finished) == (1, 200, 5, True)
    assert (call.prompt, call.last_user, call.disconnected_at) == (fingerprint(MESSAGES), PROMPT, None)
    assert call.finished_at is not None
    assert call.started_at <= call.finished_at


def test_a_whole_answer_has_the_same_text_and_usage(stub: ModelStub) -> None:
    answer = chat(stub, streaming=False).invoke(PROMPT)
    assert answer.content == "".join(TOKENS)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 5


def test_the_stream_on_the_wire_is_openai_s(stub: ModelStub) -> None:
    asked = {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    answer = httpx2.post(f"{stub.base_url}/chat/completions", json=asked, trust_env=False)
    *_, stop, usage, done, rest = answer.text.split("\n\n")
    assert '"finish_reason":"stop"' in stop
    assert '"usage":null' in stop
    assert '"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}' in usage
    assert (done, rest) == ("data: [DONE]", "")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_without_the_option_there_is_no_usage(stub: ModelStub) -> None:
    asked = {"messages": MESSAGES, "stream": True}
    assert "usage" not in httpx2.post(f"{stub.base_url}/chat/completions", json=asked, trust_env=False).text


def test_models_are_listed(stub: ModelStub) -> None:
    listed = openai.OpenAI(base_url=stub.base_url, api_key="k").models.list()
    assert [model.id for model in listed] == ["stub"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_a_status(stub: ModelStub, status: int, error: type[openai.APIStatusError], streaming: bool) -> None:
    stub.fail({"kind": "status", "status": status})
    with pytest.raises(error) as raised:
        chat(stub, streaming=streaming).invoke(PROMPT)
    assert raised.value.status_code == status
    assert "retry-after" not in raised.value.response.headers


@pytest.mark.parametrize("retry_after", ["2", HTTP_DATE])
def test_retry_after_reaches_the_client(stub: ModelStub, retry_after: str) -> None:
    stub.fail({"kind": "status", "status": 429, "retry_after": retry_after})
    with pytest.raises(openai.RateLimitError) as raised:
        chat(stub).invoke(PROMPT)
    assert raised.value.response.headers["retry-after"] == retry_after


def test_faults_are_used_up_in_their_order(stub: ModelStub) -> None:
    stub.fail({"kind": "ok"}, {"kind": "status", "status": 503, "times": 2})
    chat(stub).invoke(PROMPT)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            chat(stub).invoke(PROMPT)
    chat(stub).invoke(PROMPT)
    assert [call.status for call in stub.calls()] == [200, 503, 503, 200]


def test_a_cut_comes_behind_its_tokens(stub: ModelStub) -> None:
    stub.fail({"kind": "cut", "after_tokens": 2})
    got: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        read(chat(stub), got)
    assert got == TOKENS[:2]
    [call] = stub.calls()
    assert (call.hung_up, call.finished, call.disconnected_at, call.tokens_sent) == (True, False, None, 2)


def test_silence_lasts_until_the_client_goes(stub: ModelStub) -> None:
    stub.fail({"kind": "silent", "after_tokens": 2})
    chunks = chat(stub).stream(PROMPT)
    got = pieces(chunks)
    assert [next(got), next(got)] == TOKENS[:2]
    chunks.close()  # type: ignore[attr-defined]  # a generator, typed as an iterator
    [call] = stub.wait_for_calls(1, state="disconnected")
    assert (call.finished, call.hung_up) == (False, False)


def test_silence_times_the_client_out(stub: ModelStub) -> None:
    stub.fail({"kind": "silent"})
    with pytest.raises(openai.APITimeoutError):
        read(chat(stub, timeout=0.2), [])


def test_an_empty_answer_is_a_proper_one(stub: ModelStub) -> None:
    stub.fail({"kind": "empty"})
    answer = chat(stub).invoke(PROMPT)
    assert answer.content == ""
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 0


def test_a_malformed_chunk_comes_behind_its_tokens(stub: ModelStub) -> None:
    stub.fail({"kind": "malformed", "after_tokens": 3})
    got: list[str] = []
    with pytest.raises(ValueError, match="Unterminated string"):
        read(chat(stub), got)
    assert got == TOKENS[:3]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_refused_call_gets_no_answer(stub: ModelStub, streaming: bool) -> None:
    stub.fail({"kind": "refuse"})
    with pytest.raises(openai.APIConnectionError):
        chat(stub, streaming=streaming).invoke(PROMPT)
    [call] = stub.wait_for_calls(1, state="ended")
    assert (call.hung_up, call.status) == (True, None)


def test_calls_are_held_at_their_place_until_the_release(stub: ModelStub) -> None:
    stub.hold(2, from_call=2)
    chat(stub).invoke(PROMPT)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(chat(stub).invoke, PROMPT)
        first, second = stub.wait_for_calls(1, state="held")
        assert (first.held, first.finished) == (False, True)
        assert (second.held, second.finished, second.tokens_sent) == (True, False, 2)
        assert not answer.done()
        stub.release()
        assert answer.result().content == "".join(TOKENS)
    chat(stub).invoke(PROMPT)
    assert [call.held for call in stub.calls()] == [False, True, False]


def test_waiting_for_calls_that_do_not_come_fails(stub: ModelStub) -> None:
    with pytest.raises(AssertionError, match="not 1 calls started"):
        stub.wait_for_calls(1, timeout=0)


def test_calls_that_were_taken_are_forgotten_and_numbers_go_on(stub: ModelStub) -> None:
    for _ in range(2):
        chat(stub).invoke(PROMPT)
    assert [call.number for call in stub.take_calls()] == [1, 2]
    chat(stub).invoke(PROMPT)
    assert [(call.number, call.fault) for call in stub.take_calls()] == [(3, "ok")]
    assert stub.take_calls() == []


def test_a_wrong_command_is_refused(stub: ModelStub) -> None:
    with pytest.raises(httpx2.HTTPStatusError):
        stub.control(faults=[{"kind": "typo"}])


def test_a_stopped_stub_refuses_connections_and_comes_back_on_its_port() -> None:
    with ModelStub(tokens=5) as stub:
        base_url = stub.base_url
        stub.stop()
        with pytest.raises(openai.APIConnectionError):
            chat(stub).invoke(PROMPT)
        stub.start()
        assert stub.base_url == base_url
        assert chat(stub).invoke(PROMPT).content == "".join(TOKENS)
