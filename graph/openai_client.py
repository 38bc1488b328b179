"""OpenAI's chat completions, with the pieces of a streamed answer left as the JSON that they came as.

Building the SDK's models of them took half of a busy server's time, and LangChain turns them back into dictionaries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from openai import AsyncStream
from openai.resources.chat import AsyncCompletions

# What the SDK's own `create` takes beside the body of the request.
_NOT_BODY = {"extra_headers", "extra_query", "extra_body", "timeout"}


class Pieces(AsyncStream[object]):
    """A streamed answer piece by piece, as LangChain reads it: each choice has a `delta`, if only None.

    Azure's content filter leaves it out (learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming).
    """

    async def __aiter__(self) -> AsyncIterator[object]:
        async for piece in super().__aiter__():
            if isinstance(piece, dict):
                for choice in piece.get("choices") or ():
                    choice.setdefault("delta", None)
                yield piece


class PlainCompletions(AsyncCompletions):
    """The SDK's completions, but for plain streams: their body is sent as it is, their pieces are dictionaries."""

    async def create(self, **payload: Any) -> Any:
        """As the SDK's, which checks and converts the payload field by field."""
        if not payload.get("stream") or _NOT_BODY & payload.keys():
            return await super().create(**payload)
        return await self._client.post(
            "/chat/completions", body=payload, cast_to=object, stream=True, stream_cls=Pieces
        )
