"""Prompts fit the model's window: the oldest goes first, and an overflow is asked again with less."""

from __future__ import annotations

from dataclasses import replace

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from graph.asking import ask
from graph.digest import PhaseNote
from graph.failure import ModelFailed, failure_of
from graph.ports import Ports
from graph.prompts import SubcallRequest, subcall_messages
from graph.prompts.fitting import fitted, prompt_tokens, tokens
from tests.fakes import FakeModel, RecordingListener, fake_ports
from tests.unit.test_failure import status_error
from tests.unit.test_prompts import REQUEST, draft, source

WORDS = "many words stand here " * 100  # 550 tokens
LONG = replace(
    REQUEST,
    excerpts=[source(n, f"excerpt-{n} {WORDS}") for n in (1, 2, 3)],
    drafts=[draft(n, f"draft-{n} {WORDS}") for n in (1, 2, 3)],
    notes=[PhaseNote(n, f"Phase {n}", f"note-{n} {WORDS}") for n in (1, 2, 3)],
    earlier_topics=[f"topic-{n} {WORDS}" for n in (1, 2)],
)
ORDER = ["note-1", "note-2", "note-3", "topic-1", "topic-2", "draft-1", "draft-2", "excerpt-3", "excerpt-2"]


def text_of(messages: list[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in messages)


def test_what_fits_is_left_as_it_is() -> None:
    assert fitted(LONG, subcall_messages, 100_000) == subcall_messages(LONG)


@pytest.mark.parametrize("dropped", range(1, len(ORDER) + 1))
def test_the_oldest_notes_go_first_and_the_task_never(dropped: int) -> None:
    whole = prompt_tokens(subcall_messages(LONG))
    text = text_of(fitted(LONG, subcall_messages, whole - 550 * dropped + 20))
    assert [name for name in ORDER if name not in text] == ORDER[:dropped]
    assert "draft-3" in text
    assert "excerpt-1" in text
    assert "Answer the question of this phase" in text


@given(st.integers(1_500, 8_000))
def test_the_prompt_stays_within_the_room(room: int) -> None:
    assert prompt_tokens(fitted(LONG, subcall_messages, room)) <= room


def test_a_long_topic_is_cut_as_the_last_resort() -> None:
    request = replace(REQUEST, topic="Tides. " * 6000, guidance=["The moon. " * 3000] * 5)
    assert prompt_tokens(fitted(request, subcall_messages, 4_000)) <= 4_000


def test_dense_scripts_are_counted_by_the_character() -> None:
    assert tokens("潮汐" * 50) == 100
    assert tokens("tide" * 50) == 50


OVERFLOW = [
    status_error(openai.BadRequestError, 400, code="context_length_exceeded"),
    openai.BadRequestError(
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        response=status_error(openai.BadRequestError, 400).response,
        body=None,
    ),
]


@pytest.mark.parametrize("error", OVERFLOW)
def test_an_overflow_is_known_and_not_repeated(error: Exception) -> None:
    failure = failure_of(error)
    assert failure.overflow
    assert not failure.transient
    assert "8192" not in failure.message


async def asked(window: int, request: SubcallRequest = LONG) -> tuple[FakeModel, RecordingListener, Ports]:
    def script(call: int) -> list[str | Exception]:
        return ["Done."] if tokens(model.prompts[call - 1]) <= window else [OVERFLOW[0]]

    model = FakeModel(script=script)
    ports, listener = fake_ports(model), RecordingListener()
    line = ports.line("research", "small")
    await ask(ports, line, request, subcall_messages, listener)
    # A second one knows what the first has learnt.
    await ask(ports, line, request, subcall_messages, listener)
    return model, listener, ports


@pytest.mark.anyio
async def test_an_overflow_is_asked_again_with_less_and_remembered() -> None:
    model, listener, _ = await asked(window=3_000)
    sizes = [tokens(prompt) for prompt in model.prompts]
    assert sizes[0] > 3_000 >= sizes[-1]
    assert len(sizes) == 4, "two were too long, and the second question began with what the first had found"
    kinds = [heard[0] for heard in listener.heard]
    assert kinds == ["started", "retrying", "started", "retrying", "started", "token", "started", "token"]


@pytest.mark.anyio
async def test_what_never_fits_fails() -> None:
    with pytest.raises(ModelFailed, match="longer than the model takes"):
        await asked(window=1)


@pytest.mark.anyio
async def test_the_prompts_of_a_large_run_fit_a_small_window() -> None:
    model = FakeModel(script=lambda _: ["Done."])
    ports = fake_ports(model)
    ports.window_tokens = 4_000
    await ask(ports, ports.line("research", "small"), LONG, subcall_messages, RecordingListener())
    assert tokens(model.prompts[0]) < 4_000 - REQUEST.target_output_tokens
