"""Thinking aloud is kept out of an answer, however its text is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage

from graph.endpoint import Endpoint
from graph.model_call import Patience, call_model
from graph.thinking import ThinkingFilter, without_thinking
from tests.fakes import FakeModel, Piece, RecordingListener

CASES = [
    ("Hello world", "Hello world"),
    ("<think>a\nb</think>\n\nHello <think>x</think>", "Hello <think>x</think>"),
    ("  <thinking>a</think b</thinking>Hello", "Hello"),
    ("<think></think>Hello", "Hello"),
    ("<think>only thought</think>", ""),
    ("<think>never ended", ""),
    ("<this is no thought", "<this is no thought"),
    ("<thin", "<thin"),
    ("\n\nHello", "\n\nHello"),
    ("Say `<think>` first", "Say `<think>` first"),
]


def filtered(pieces: list[str]) -> str:
    thinking = ThinkingFilter()
    return "".join([*(thinking.answer(piece) for piece in pieces), thinking.rest()])


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_in_one_piece(text: str, answer: str) -> None:
    assert filtered([text]) == answer


@given(st.sampled_from(CASES), st.data())
def test_in_any_pieces(case: tuple[str, str], data: st.DataObject) -> None:
    text, answer = case
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    assert filtered([text[a:b] for a, b in itertools.pairwise(cuts)]) == answer


@given(st.text(), st.text())
def test_a_text_that_begins_otherwise_is_as_it_was(first: str, second: str) -> None:
    if not (first + second).lstrip().startswith("<"):
        assert filtered([first, second]) == first + second


def test_an_end_without_its_beginning() -> None:
    assert without_thinking("I think.\nSo.\n</think>\n\nHello") == "Hello"
    assert without_thinking("The tag `</think>` ends it.") == "The tag `</think>` ends it."


@pytest.mark.anyio
@pytest.mark.parametrize(
    "pieces",
    [
        ["<thi", "nk>I must lie.</th", "ink>\n", "Hello"],
        [AIMessageChunk(content=[{"type": "reasoning", "reasoning": "I must lie."}]), "Hello"],
        [AIMessageChunk(content=[{"type": "thinking", "thinking": "I must lie."}]), "Hello"],
        [AIMessageChunk(content="", additional_kwargs={"reasoning_content": "I must lie."}), "Hello"],
    ],
)
async def test_neither_the_stream_nor_the_finding_has_it(pieces: list[Piece]) -> None:
    listener = RecordingListener()
    answer = await call_model(
        FakeModel(script=lambda _: pieces), [HumanMessage("Hi")], listener, endpoint=Endpoint(), patience=Patience()
    )
    assert answer.text == "Hello"
    assert "".join(str(heard[1]) for heard in listener.heard if heard[0] == "token") == "Hello"
