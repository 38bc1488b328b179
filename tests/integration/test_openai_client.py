"""The client whose pieces stay JSON gives LangChain what OpenAI's own client gives it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import orjson
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from openai.resources.chat import AsyncCompletions
from pydantic import SecretStr

from graph.openai_client import PlainCompletions

URL = "http://stub.invalid/v1"


def piece(delta: dict[str, Any] | None, **choice: Any) -> dict[str, Any]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "f"}
    return head | {"choices": [{"index": 0, "delta": delta, **choice}]}


ROLE = piece({"role": "assistant", "content": ""})
ONE, TWO = piece({"content": "one"}), piece({"content": " two"})
STOP = piece({}, finish_reason="stop")
USAGE = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
FILTERED: dict[str, Any] = {**ONE, "choices": [{"index": 0, "content_filter_offsets": {"check_offset": 44}}]}
PROMPTED: dict[str, Any] = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [],
}

ASKED = {
    "messages": [{"role": "user", "content": "hello"}],
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
}

STREAMS = {
    "usual": [ROLE, ONE, TWO, STOP, USAGE],
    "without a role": [ONE, TWO, STOP],
    "null delta": [ROLE, piece(None), ONE, TWO, STOP, USAGE],
    "azure: no delta, no model": [PROMPTED, ROLE, FILTERED, ONE, TWO, STOP, USAGE],
    "refused": [ROLE, piece({"content": None, "refusal": "no"}), STOP],
    "null choices": [ROLE, ONE, {**USAGE, "choices": None}],
    "reasoning beside the text": [ROLE, piece({"reasoning_content": "hm"}), ONE, STOP],
}


def model(completions: type[AsyncCompletions], pieces: list[Any]) -> ChatOpenAI:
    body = b"".join(b"data: " + orjson.dumps(item) + b"\n\n" for item in pieces) + b"data: [DONE]\n\n"

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert orjson.loads(request.content) == ASKED
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = openai.AsyncOpenAI(
        base_url=URL, api_key="k", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)), max_retries=0
    )
    return ChatOpenAI(
        model="m",
        api_key=SecretStr("k"),
        base_url=URL,
        root_async_client=client,
        async_client=completions(client),
        stream_usage=True,
        stream_chunk_timeout=None,
    )


async def read(completions: type[AsyncCompletions], pieces: list[Any]) -> list[AIMessageChunk]:
    got = [chunk async for chunk in model(completions, pieces).astream("hello")]
    for chunk in got:
        chunk.id = None
    return got


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS)
def test_langchain_reads_the_same_from_both_clients(pieces: list[Any]) -> None:
    ours = asyncio.run(read(PlainCompletions, pieces))
    assert ours == asyncio.run(read(AsyncCompletions, pieces))
    assert ours


def test_an_error_within_the_stream_is_raised() -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        asyncio.run(read(PlainCompletions, [ROLE, ONE, {"error": {"message": "overloaded", "type": "server_error"}}]))


def test_what_is_no_object_is_passed_over() -> None:
    text = "".join(
        str(chunk.content) for chunk in asyncio.run(read(PlainCompletions, [ROLE, "noise", ONE, 7, TWO, STOP]))
    )
    assert text == "one two"
