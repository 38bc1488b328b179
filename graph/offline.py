"""The embedded model: no network, no key, no reasoning. It answers our prompts with sentences of their own material."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from graph.digest import count_tokens
from graph.extraction import compose

MODEL_NAME = "offline"
CHUNKS_A_TURN = 64
_PIECE = re.compile(r"\S+\s*|\s+")


class OfflineChatModel(BaseChatModel):
    """Answers by extraction: the same prompt gives the same text. Streams word by word, with no delay."""

    @property
    def _llm_type(self) -> str:
        return MODEL_NAME

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = _answer(messages, stop)
        counted, named = _usage(messages, text), {"model_name": MODEL_NAME}
        message = AIMessage(text, usage_metadata=counted, response_metadata=named)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text = _answer(messages, stop)
        *pieces, last = _PIECE.findall(text) or [""]
        for piece in pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content=last,
                usage_metadata=_usage(messages, text),
                response_metadata={"model_name": MODEL_NAME},
                chunk_position="last",
            )
        )

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number, chunk in enumerate(self._stream(messages, stop, **kwargs), start=1):
            yield chunk
            if number % CHUNKS_A_TURN == 0:
                await asyncio.sleep(0)


def _answer(messages: Sequence[BaseMessage], stop: Sequence[str] | None) -> str:
    text = compose(str(messages[-1].text) if messages else "")
    return min((text.partition(word)[0] for word in stop or ()), key=len, default=text)


def _usage(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    read, written = sum(count_tokens(str(message.text)) for message in messages), count_tokens(text)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
