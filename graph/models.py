"""Chat models by name, as LangChain writes them."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

OFFLINE = "offline"
PROVIDER = "openai:"


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


@functools.cache
def load_model(name: str) -> BaseChatModel:
    """The chat model called `name`; `openai:` ones read OPENAI_API_KEY and OPENAI_BASE_URL. Raises `ModelUnusable`."""
    check_model(name)
    if name == OFFLINE:
        from graph.offline import OfflineChatModel

        return OfflineChatModel()
    from langchain_openai import ChatOpenAI

    # Retries are ours (graph/model_call.py), so that each is announced and honours Retry-After.
    return ChatOpenAI(model=name.removeprefix(PROVIDER), streaming=True, stream_usage=True, max_retries=0)
