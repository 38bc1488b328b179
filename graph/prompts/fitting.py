"""Prompts made to fit a model's window: what is oldest goes first, and what the task is never goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from graph.digest import CHARS_PER_TOKEN, cut

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from graph.prompts import SubcallRequest

LEAST_TOKENS: Final = 400
# Han, kana, Hangul and most other scripts cost about a token a character.
_DENSE: Final = re.compile(r"[^\x00-\u024f\s]")
# What a message costs beside its text.
_A_MESSAGE: Final = 8


def prompt_tokens(messages: list[BaseMessage]) -> int:
    """How many tokens the messages have, rather too many than too few: no tokenizer knows every model."""
    return sum(tokens(str(message.content)) + _A_MESSAGE for message in messages)


def tokens(text: str) -> int:
    """An upper estimate: a token for every four Latin characters, and one for each character of denser scripts."""
    dense = 0 if text.isascii() else len(_DENSE.findall(text))
    return -(-(len(text) - dense) // CHARS_PER_TOKEN) + dense


def fitted(request: SubcallRequest, ask: Callable[[SubcallRequest], list[BaseMessage]], room: int) -> list[BaseMessage]:
    """The messages for `request` in at most `room` tokens, as far as anything can be left out.

    Notes of earlier phases go first, the oldest before the newer; then earlier topics, drafts but the last one, and
    excerpts from the last; then the last draft, the topic and the guidance are cut.
    """
    messages = ask(request)
    over = prompt_tokens(messages) - room
    for shorten in (_notes, _earlier_topics, _drafts, _excerpts, _last_draft, _topic):
        if over <= 0:
            break
        request = shorten(request, over)
        messages = ask(request)
        over = prompt_tokens(messages) - room
    return messages


def _notes(request: SubcallRequest, over: int) -> SubcallRequest:
    notes = list(request.notes)
    return replace(request, notes=notes[_enough([note.text + note.title for note in notes], over) :])


def _earlier_topics(request: SubcallRequest, over: int) -> SubcallRequest:
    topics = list(request.earlier_topics)
    return replace(request, earlier_topics=topics[_enough(topics, over) :])


def _drafts(request: SubcallRequest, over: int) -> SubcallRequest:
    drafts = sorted(request.drafts, key=lambda draft: draft["index"])
    return replace(request, drafts=drafts[min(_enough([d["text"] for d in drafts], over), max(len(drafts) - 1, 0)) :])


def _excerpts(request: SubcallRequest, over: int) -> SubcallRequest:
    excerpts = list(request.excerpts)
    less = _enough([source["snippet"] + source["title"] for source in reversed(excerpts)], over)
    return replace(request, excerpts=excerpts[: max(len(excerpts) - less, min(1, len(excerpts)))])


def _last_draft(request: SubcallRequest, over: int) -> SubcallRequest:
    drafts = list(request.drafts)
    if drafts:
        left = max(tokens(drafts[-1]["text"]) - over, LEAST_TOKENS)
        drafts[-1] = {**drafts[-1], "text": cut(drafts[-1]["text"], left)}
    return replace(request, drafts=drafts)


def _topic(request: SubcallRequest, over: int) -> SubcallRequest:
    guidance = [cut(message, LEAST_TOKENS) for message in request.guidance[-3:]]
    return replace(request, topic=cut(request.topic, LEAST_TOKENS), guidance=guidance)


def _enough(texts: list[str], over: int) -> int:
    """How many of the first `texts` to leave out for `over` tokens fewer."""
    for count, text in enumerate(texts):
        if over <= 0:
            return count
        over -= tokens(text)
    return len(texts)
