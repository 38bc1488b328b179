from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk

from graph.context import Role
from graph.digest import PhaseNote, count_tokens, sentences
from graph.extraction import compose
from graph.offline import OfflineChatModel
from graph.prompts import SubcallRequest, closing_messages, subcall_messages
from graph.prompts.material import NOTHING_NEW
from graph.state import Finding, Source

ROLES: tuple[Role, ...] = get_args(Role)
QUOTE = re.compile(r"“([^”]*)” (\[\d+\]|\(phase \d+\))")


def source(number: int, snippet: str, title: str = "") -> Source:
    return Source(id=number, title=title or f"Source {number}", url="", snippet=snippet)


def draft(text: str, role: Role = "research", index: int = 1) -> Finding:
    return Finding(
        line=1,
        turn=1,
        phase=3,
        index=index,
        role=role,
        text=text,
        model="offline",
        usage={"input_tokens": 1, "output_tokens": 1},
        phase_started_at=0.0,
        started_at=0.0,
        ended_at=1.0,
    )


SOURCES = [
    source(
        1, "Heat pumps move heat instead of making it. Two thirds of Norwegian homes own heat pumps. Cats purr a lot."
    ),
    source(2, "Ground heat pumps have costs of 20,000 euros. The running costs are lower than those of gas."),
    source(5, "Electric heating raises the winter peak. Many homes of Norway own heat pumps, two thirds of them."),
]
REQUEST = SubcallRequest(
    topic="Costs of heat pumps for renters",
    phase=3,
    total=15,
    title="Costs",
    focus="What they cost, and whether gas is cheaper.",
    role="research",
    index=1,
    of=4,
    target_output_tokens=400,
    excerpts=SOURCES,
    drafts=[],
    notes=[],
    guidance=[],
    earlier_topics=[],
)
NOTES = [
    PhaseNote(1, "Terms", "“A heat pump is a machine.” [8] “It has a compressor.” [8]"),
    PhaseNote(2, "History", "“The first heat pumps were built in 1856.” [9][7] “Renters had none.” [9]"),
]


def answer(request: SubcallRequest) -> str:
    return compose(str(subcall_messages(request)[1].text))


def quotes(text: str) -> list[str]:
    return [quote for quote, _ in QUOTE.findall(text)]


def test_research_quotes_relevant_sentences_word_for_word_with_their_sources() -> None:
    text = answer(REQUEST)
    cited = {(quote, cite) for quote, cite in QUOTE.findall(text)}
    assert ("Ground heat pumps have costs of 20,000 euros.", "[2]") in cited
    assert ("Heat pumps move heat instead of making it.", "[1]") in cited
    assert all(any(quote in s["snippet"] and cite == f"[{s['id']}]" for s in SOURCES) for quote, cite in cited)
    assert "purr" not in text
    assert text.startswith("**Source 2** reports:")


def test_what_drafts_and_notes_quote_is_left_out_where_other_sentences_are_left() -> None:
    first = answer(replace(REQUEST, target_output_tokens=60))
    by_draft = answer(replace(REQUEST, drafts=[draft(first)]))
    by_note = answer(replace(REQUEST, notes=[PhaseNote(1, "T", first)]))
    assert quotes(first)
    for later in (by_draft, by_note):
        assert quotes(later)
        assert not set(quotes(first)) & set(quotes(later))


def test_where_all_is_quoted_already_it_is_quoted_again() -> None:
    everything = " ".join(s["snippet"] for s in SOURCES)
    assert quotes(answer(replace(REQUEST, drafts=[draft(everything)])))


def test_critique_names_what_is_uncovered_unsaid_single_and_unused() -> None:
    text = "“Ground heat pumps have costs of 20,000 euros.” [2] “Two thirds of Norwegian homes own heat pumps.” [1]"
    critique = answer(replace(REQUEST, role="critique", guidance=["And the peak?"], drafts=[draft(text)]))
    assert "- No source covers: renters." in critique
    assert "- In the sources, but missing from the draft: peak." in critique
    assert "- Rests on one source only: “Ground heat pumps have costs of 20,000 euros.” [2]" in critique
    assert "Norwegian homes own" not in critique
    assert "- Sources that were not used: [5] Source 5." in critique


def test_critique_of_a_complete_draft_says_that_it_is_complete() -> None:
    excerpts = [source(1, "There is heat in here."), source(2, "In here is much heat.")]
    request = replace(REQUEST, topic="Heat", excerpts=excerpts, role="critique", drafts=[draft("Heat [1][2] is here.")])
    assert answer(request).startswith("- The draft uses every source")


def test_refine_adds_what_the_draft_lacks() -> None:
    lacking = draft("“Heat pumps move heat instead of making it.” [1]")
    refined = answer(replace(REQUEST, role="refine", drafts=[lacking]))
    assert "- **costs:** “" in refined
    assert "“Ground heat pumps have costs of 20,000 euros.” [2]" in refined
    assert "move heat" not in refined


def test_synthesize_uses_the_drafts_sentences_and_says_what_is_open() -> None:
    text = answer(replace(REQUEST, role="synthesize", drafts=[draft(answer(REQUEST))]))
    assert "“Ground heat pumps have costs of 20,000 euros.” [2]" in text
    assert text.endswith("**Open:** no source covers renters.")


def test_a_phase_does_not_repeat_what_earlier_phases_found() -> None:
    text = answer(replace(REQUEST, role="synthesize", notes=[PhaseNote(1, "Costs", answer(REQUEST))]))
    assert not set(re.findall("“[^”]+”", text)) & set(re.findall("“[^”]+”", answer(REQUEST)))


def test_a_phase_whose_sources_bring_nothing_new_says_so() -> None:
    everything = " ".join(f"“{sentence}” [1]" for s in REQUEST.excerpts for sentence in sentences(s["snippet"]))
    text = answer(replace(REQUEST, role="synthesize", notes=[PhaseNote(1, "Costs", everything)]))
    assert text.startswith(NOTHING_NEW)


def test_the_synthesis_takes_up_the_notes_with_their_citations() -> None:
    text = answer(replace(REQUEST, role="synthesize", phase=14, notes=NOTES))
    assert "### What earlier phases found" in text
    assert "“The first heat pumps were built in 1856.” [9][7]" in text
    assert "no source covers" not in text


@pytest.mark.parametrize("phase", [14, 15])
def test_the_last_phases_synthesize_every_note_before_any_detail(phase: int) -> None:
    request = replace(REQUEST, role="synthesize", phase=phase, notes=NOTES, target_output_tokens=25)
    text = answer(request)
    assert "**Terms:** “A heat pump is a machine.” [8]" in text
    assert "**History:** “Renters had none.” [9]" in text
    assert "1856" not in text


def test_each_note_has_its_turn_and_what_several_notes_say_comes_last() -> None:
    notes = [
        PhaseNote(1, "One", "“Costs of heat pumps for renters.” [1] “Pumps cost renters.” [1] “Pumps heat.” [1]"),
        PhaseNote(2, "Two", "“Heat is a form of energy.” [2]"),
        PhaseNote(14, "Sum", "“Costs of heat pumps for renters.” [1]"),
    ]
    request = replace(REQUEST, role="synthesize", phase=15, excerpts=[], notes=notes, target_output_tokens=40)
    assert quotes(answer(request)) == ["Pumps cost renters.", "Heat is a form of energy."]


def test_the_closing_synthesis_is_a_synthesis() -> None:
    text = compose(str(closing_messages(replace(REQUEST, notes=NOTES))[1].text))
    assert "### What earlier phases found" in text


@pytest.mark.parametrize("role", ROLES)
def test_without_material_it_says_that_no_source_was_found(role: Role) -> None:
    text = answer(replace(REQUEST, role=role, excerpts=[], target_output_tokens=16))
    assert text.startswith("No source was found for this phase")
    assert not QUOTE.search(text)


def test_without_sources_the_notes_are_used_and_that_is_said() -> None:
    text = answer(replace(REQUEST, role="synthesize", excerpts=[], notes=NOTES))
    assert text.startswith("No source was found for this phase; what follows comes from earlier phases.")
    assert "“A heat pump is a machine.” [8]" in text


def test_a_prompt_that_is_not_ours_is_answered_too() -> None:
    assert str(OfflineChatModel().invoke("Hello?").text).startswith("No source was found")


@pytest.mark.parametrize("role", [*ROLES])
@pytest.mark.parametrize("tokens", [16, 40, 120, 1500])
def test_the_target_is_an_upper_bound_but_for_one_sentence(role: Role, tokens: int) -> None:
    snippet = " ".join(f"Heat pump number {i} costs {i} euros a year in every single home." for i in range(300))
    request = replace(REQUEST, role=role, target_output_tokens=tokens, excerpts=[source(1, snippet)], notes=NOTES)
    text = answer(replace(request, topic="Costs of heat pumps for zeppelins of ridiculously considerable dimensions"))
    assert text
    assert count_tokens(text) <= tokens or QUOTE.fullmatch(text) or role == "critique"
    if role in ("research", "synthesize") and tokens >= 120:
        assert count_tokens(text) > tokens * 0.7


@pytest.mark.parametrize("role", ROLES)
def test_no_sentence_comes_twice(role: Role) -> None:
    twice = [*SOURCES, source(9, SOURCES[0]["snippet"])]
    found = quotes(answer(replace(REQUEST, role=role, excerpts=twice, notes=[*NOTES, NOTES[0]], phase=15)))
    assert len(found) == len(set(found))


HOSTILE = (
    "Heat pumps <script>alert(1)</script> cost ![much](https://evil.example/x.png) in euros. "
    "See [costs of heat pumps](javascript:alert(2)) at www.evil.example today, and [2] too. "
    "Costs `of` </source> heat pumps are “high” <img src=x onerror=alert(3)> for all."
)


@pytest.mark.parametrize("role", ROLES)
def test_hostile_sources_come_out_as_inert_text(role: Role) -> None:
    request = replace(REQUEST, role=role, excerpts=[source(1, HOSTILE, "<b>[t](u)</b>")], drafts=[draft(HOSTILE)])
    text = answer(replace(request, notes=[PhaseNote(1, "<i>", HOSTILE)]))
    assert quotes(text) or role == "critique"
    for banned in ("<", "](", "![", "://", "www.", "`", "[2] too"):
        assert banned not in text


@given(st.lists(st.text(), max_size=4), st.text(), st.sampled_from(ROLES), st.integers(16, 200))
def test_any_text_is_answered_with_inert_text(snippets: list[str], topic: str, role: Role, tokens: int) -> None:
    excerpts = [source(i, snippet, snippet) for i, snippet in enumerate(snippets)]
    text = answer(replace(REQUEST, topic=topic, excerpts=excerpts, role=role, target_output_tokens=tokens))
    assert text.strip()
    assert "<" not in text
    assert "](" not in text
    text.encode("utf-8")


async def streamed(messages: list[BaseMessage]) -> list[AIMessageChunk]:
    return [chunk async for chunk in OfflineChatModel().astream(messages)]


def test_all_ways_of_calling_give_the_same_text_and_usage() -> None:
    messages = subcall_messages(REQUEST)
    chunks = [chunk for chunk in OfflineChatModel().stream(messages) if isinstance(chunk, AIMessageChunk)]
    whole = OfflineChatModel().invoke(messages)
    assert "".join(str(chunk.text) for chunk in chunks) == str(whole.text) == answer(REQUEST)
    assert [chunk.content for chunk in asyncio.run(streamed(messages))] == [chunk.content for chunk in chunks]
    usage = chunks[-1].usage_metadata
    assert usage == whole.usage_metadata
    assert usage
    assert usage["input_tokens"] == sum(count_tokens(str(message.text)) for message in messages)
    assert usage["output_tokens"] == count_tokens(str(whole.text))
    assert chunks[-1].response_metadata["model_name"] == whole.response_metadata["model_name"] == "offline"
    assert not any(chunk.usage_metadata for chunk in chunks[:-1])
    assert all(len(str(chunk.text).split()) == 1 for chunk in chunks)


def test_stop_words_end_the_text() -> None:
    text = str(OfflineChatModel().invoke(subcall_messages(REQUEST), stop=["euros", "nowhere"]).text)
    assert text.endswith("20,000 ")


def test_the_same_prompt_gives_the_same_text_in_every_process() -> None:
    request = replace(REQUEST, role="synthesize", notes=NOTES)
    prompt = str(subcall_messages(request)[1].text)
    program = "import sys; from graph.extraction import compose; sys.stdout.buffer.write(compose(sys.argv[1]).encode())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()}
        run = subprocess.run([sys.executable, "-c", program, prompt], env=environment, capture_output=True, check=True)
        assert run.stdout.decode() == answer(request)


async def others_turns(messages: list[BaseMessage]) -> tuple[int, int]:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    chunks = len(await streamed(messages))
    task.cancel()
    return chunks, turns


def test_the_event_loop_gets_its_turn_while_it_streams() -> None:
    snippet = " ".join(f"Heat pump number {i} costs {i} euros." for i in range(1000))
    request = replace(REQUEST, excerpts=[source(1, snippet)], target_output_tokens=5000)
    chunks, turns = asyncio.run(others_turns(subcall_messages(request)))
    assert chunks > 1000
    assert turns >= chunks // 64


def test_chunks_come_fast() -> None:
    snippet = " ".join(f"Heat pump number {i} costs {i} euros." for i in range(5000))
    request = replace(REQUEST, excerpts=[source(1, snippet)], target_output_tokens=40_000)
    stream = OfflineChatModel()._stream([HumanMessage(str(subcall_messages(request)[1].text))])
    next(stream)
    started = time.process_time()
    *pieces, last = stream
    took = time.process_time() - started
    assert isinstance(last.message, AIMessageChunk)
    assert last.message.usage_metadata
    assert last.message.usage_metadata["output_tokens"] > 30_000
    texts = [piece.text for piece in pieces]
    del pieces
    started = time.process_time()
    made = [ChatGenerationChunk(message=AIMessageChunk(content=text)) for text in texts]
    assert took < 10 * (time.process_time() - started), f"next to nothing but the {len(made)} chunks themselves"
