"""Chat models by name, as LangChain writes them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

OFFLINE = "offline"
PROVIDER = "openai:"
OPENAI_URL = "https://api.openai.com/v1"


class ModelUnusable(Exception):
    """The model cannot be used as it is set up; the message says what to do."""


def check_model(name: str) -> None:
    """Raises `ModelUnusable` where `name` is no model we know how to reach, or its key is missing."""
    if name == OFFLINE:
        return
    if not name.startswith(PROVIDER) or not name.removeprefix(PROVIDER).strip():
        raise ModelUnusable(f"The model {name!r} is unknown: use 'offline' or 'openai:<name>'.")
    if not os.environ.get("OPENAI_API_KEY"):
        raise ModelUnusable(f"The model {name!r} needs OPENAI_API_KEY (any text will do for an endpoint without keys).")


# HTTP connections belong to the event loop that opened them; a notebook or a script may run several in turn.
_loaded: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, BaseChatModel]] = WeakKeyDictionary()


def load_model(name: str) -> BaseChatModel:
    """The chat model called `name`, one for each event loop, to be called while that runs. Raises `ModelUnusable`.

    `openai:` ones read OPENAI_API_KEY and OPENAI_BASE_URL.
    """
    check_model(name)
    loaded = _loaded.setdefault(asyncio.get_running_loop(), {})
    if name not in loaded:
        loaded[name] = _offline() if name == OFFLINE else _openai(name.removeprefix(PROVIDER))
    return loaded[name]


def _offline() -> BaseChatModel:
    from graph.offline import OfflineChatModel

    return OfflineChatModel()


def _openai(model: str) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    from graph.openai_client import PlainCompletions

    base_url = os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    # A client of its own: LangChain's is shared between event loops. Retries are ours (graph/model_call.py), so that
    # each is announced and honours Retry-After; so is the watch for silence.
    client = AsyncOpenAI(base_url=base_url, http_client=DefaultAsyncHttpxClient(), max_retries=0)
    return ChatOpenAI(
        model=model,
        base_url=base_url,
        root_async_client=client,
        async_client=PlainCompletions(client),
        streaming=True,
        stream_usage=True,
        stream_chunk_timeout=None,
        max_retries=0,
    )
