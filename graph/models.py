"""Chat models by name, as LangChain writes them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from graph.lately import used_lately

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from openai import AsyncOpenAI

OFFLINE = "offline"
PROVIDER = "openai:"
OPENAI_URL = "https://api.openai.com/v1"


class ModelUnusable(Exception):
    """The model cannot be used as it is set up; the message says what to do."""


@dataclass(frozen=True)
class Access:
    """Where an `openai:` model is, and the key to it; what is None is taken from OPENAI_BASE_URL, OPENAI_API_KEY."""

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


DEFAULT_ACCESS = Access()


def check_model(name: str, access: Access = DEFAULT_ACCESS) -> None:
    """Raises `ModelUnusable` where `name` is no model we know how to reach, or its key or package is missing."""
    if name == OFFLINE:
        return
    provider, found, model = name.partition(":")
    if not found or not provider or not model.strip():
        raise ModelUnusable(f"The model {name!r} is unknown: use 'offline' or 'openai:<name>'.")
    if name.startswith(PROVIDER):
        if not (access.api_key or os.environ.get("OPENAI_API_KEY")):
            hint = "any text will do for an endpoint without keys"
            raise ModelUnusable(f"The model {name!r} needs OPENAI_API_KEY ({hint}).")
    elif importlib.util.find_spec("langchain") is None:
        packages = f"langchain and the package of the provider {provider}"
        raise ModelUnusable(f"The model {name!r} needs {packages}: pip install langchain langchain-{provider}.")


MOST_LOADED = 64

# HTTP connections belong to the event loop that opened them; a notebook or a script may run several in turn.
_loaded: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loaded] = WeakKeyDictionary()


def load_model(name: str, access: Access = DEFAULT_ACCESS) -> BaseChatModel:
    """The chat model called `name`, for the running event loop, to be called while that runs. Raises `ModelUnusable`.

    The ones that were asked for last are kept; those of one `access` share their connections.

    `openai:` ones read OPENAI_API_KEY and OPENAI_BASE_URL where `access` names no others; those of other providers are
    made by LangChain's `init_chat_model`, and read the variables of their packages.
    """
    check_model(name, access)
    loaded = _loaded.setdefault(asyncio.get_running_loop(), _Loaded())
    return used_lately(loaded.models, (name, access), lambda: _made(name, access, loaded), most=MOST_LOADED)


@dataclass
class _Loaded:
    models: OrderedDict[tuple[str, Access], BaseChatModel] = field(default_factory=OrderedDict)
    clients: dict[tuple[str, str], AsyncOpenAI] = field(default_factory=dict)

    def client(self, base_url: str, key: str) -> AsyncOpenAI:
        """The connections to one endpoint. Not LangChain's own, which event loops share.

        Retries are ours (graph/model_call.py), so that each is announced and honours Retry-After; so is the watch for
        silence.
        """
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        if (base_url, key) not in self.clients:
            self.clients[base_url, key] = AsyncOpenAI(
                api_key=key, base_url=base_url, http_client=DefaultAsyncHttpxClient(), max_retries=0
            )
        return self.clients[base_url, key]


def _made(name: str, access: Access, loaded: _Loaded) -> BaseChatModel:
    if name == OFFLINE:
        from graph.offline import OfflineChatModel

        return OfflineChatModel()
    return _openai(name.removeprefix(PROVIDER), access, loaded) if name.startswith(PROVIDER) else _by_langchain(name)


def _openai(model: str, access: Access, loaded: _Loaded) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    from graph.openai_client import PlainCompletions

    key = access.api_key or os.environ.get("OPENAI_API_KEY", "")
    base_url = access.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    client = loaded.client(base_url, key)
    return ChatOpenAI(
        model=model,
        api_key=SecretStr(key),
        base_url=base_url,
        root_async_client=client,
        async_client=PlainCompletions(client),
        streaming=True,
        stream_usage=True,
        stream_chunk_timeout=None,
        max_retries=0,
    )


def _by_langchain(name: str) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    provider, _, model = name.partition(":")
    try:
        return init_chat_model(model, model_provider=provider, max_retries=0)
    except (ImportError, ValueError) as error:
        # LangChain's own sentence names the package or the variable that is missing; pydantic's may hold a key.
        reason = f": {error}" if isinstance(error, ImportError) or type(error) is ValueError else ""
        raise ModelUnusable(f"The model {name!r} cannot be loaded{reason}") from error
