"""One question to a model, within its window: where that turns out to be smaller, asked again with less."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graph.failure import ModelFailed
from graph.model_call import Answer, Listener, call_model
from graph.prompts.fitting import fitted, prompt_tokens

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from graph.ports import ModelLine, Ports
    from graph.prompts import SubcallRequest

MOST_TIGHTENINGS: Final = 4
TIGHTENED: Final = 0.6


async def ask(
    ports: Ports,
    line: ModelLine,
    request: SubcallRequest,
    messages_for: Callable[[SubcallRequest], list[BaseMessage]],
    listener: Listener,
) -> Answer:
    """The model's answer to `request`. Raises `ModelFailed`."""
    model = line.model()
    room = line.room(model, request.target_output_tokens)
    for attempt in range(1, MOST_TIGHTENINGS + 2):
        messages = fitted(request, messages_for, room)
        size = prompt_tokens(messages)
        try:
            return await call_model(
                model, messages, listener, endpoint=line.endpoint, patience=ports.patience, sleep=ports.sleep
            )
        except ModelFailed as error:
            # What cannot be made any shorter need not be asked again.
            if not error.failure.overflow or attempt > MOST_TIGHTENINGS or size > room:
                raise
            line.found_tokens = room = int(size * TIGHTENED)
            listener.retrying(attempt, 0.0, error.failure)
    raise AssertionError("the last attempt returns or raises")
