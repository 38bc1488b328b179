"""OpenAI's client, with the pieces of a streamed answer left as the JSON that they came as.

Building the SDK's models of them took half of a busy server's time, and LangChain turns them back into dictionaries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from openai import AsyncOpenAI, AsyncStream


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


class PlainChunks(AsyncOpenAI):
    """An `AsyncOpenAI` whose streamed chat completions are dictionaries, as the SDK's `cast_to=object` gives them."""

    async def post(self, path: str, **options: Any) -> Any:
        """As the SDK's, which its resources call."""
        if path == "/chat/completions" and options.get("stream"):
            options["stream_cls"] = Pieces
        return await super().post(path, **options)
