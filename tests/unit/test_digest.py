from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.digest import (
    DIGEST_BUDGET_TOKENS,
    MIN_NOTE_TOKENS,
    SYNTHESIS_BUDGET_TOKENS,
    PhaseNote,
    clip,
    count_tokens,
    cut,
    digest,
    sentences,
)
from graph.state import Finding

LONG = " ".join(f"Sentence number {i} says something of note." for i in range(200))


def finding(phase: int, text: str, index: int = 1) -> Finding:
    return Finding(
        line=1,
        turn=1,
        phase=phase,
        index=index,
        role="research",
        text=text,
        model="offline",
        usage={"input_tokens": 1, "output_tokens": 1},
        phase_started_at=0.0,
        started_at=0.0,
        ended_at=1.0,
    )


def plan(total: int) -> list[str]:
    return [f"Title {phase}" for phase in range(1, total + 1)]


def total_of(notes: list[PhaseNote]) -> int:
    return sum(count_tokens(note.text) for note in notes)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_tokens_are_a_quarter_of_the_characters_rounded_up(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_a_note_is_the_last_text_of_each_earlier_phase() -> None:
    findings = [finding(1, "A draft."), finding(1, "The end.", 2), finding(2, "Second."), finding(3, "Third.")]
    assert digest(plan(9), findings, 3) == [PhaseNote(1, "Title 1", "The end."), PhaseNote(2, "Title 2", "Second.")]


def test_the_first_phase_has_no_notes_and_blank_texts_are_none() -> None:
    assert digest(plan(9), [finding(1, "Mine.")], 1) == []
    assert digest(plan(9), [finding(1, " \n")], 2) == []


def test_notes_are_cut_at_sentence_borders_within_the_budget() -> None:
    notes = digest(plan(9), [finding(p, LONG) for p in range(1, 5)], 5, budget_tokens=200)
    assert [note.phase for note in notes] == [1, 2, 3, 4]
    assert all(note.text.endswith("note.") and count_tokens(note.text) > 35 for note in notes)
    assert total_of(notes) <= 200


def test_what_a_short_note_leaves_goes_to_the_longer_ones() -> None:
    notes = digest(plan(9), [finding(1, "Short."), finding(2, LONG)], 3, budget_tokens=100)
    assert notes[0].text == "Short."
    assert count_tokens(notes[1].text) > 80


def test_the_oldest_notes_go_when_it_gets_too_tight() -> None:
    findings = [finding(p, LONG) for p in range(1, 101)]
    notes = digest(plan(200), findings, 101, budget_tokens=10 * MIN_NOTE_TOKENS)
    assert [note.phase for note in notes] == list(range(91, 101))
    assert digest(plan(200), findings, 101, budget_tokens=MIN_NOTE_TOKENS - 1) == []


def test_a_short_text_is_never_dropped_for_being_short() -> None:
    assert len(digest(plan(200), [finding(p, "Yes.") for p in range(1, 101)], 101, budget_tokens=100)) == 100


@pytest.mark.parametrize("phase", [999, 1000])
def test_the_last_two_phases_hear_of_all_the_others(phase: int) -> None:
    started = time.perf_counter()
    notes = digest(plan(1000), [finding(p, LONG) for p in range(1, phase)], phase)
    assert len(notes) == phase - 1
    assert all(note.text.startswith("Sentence") for note in notes)
    assert DIGEST_BUDGET_TOKENS < total_of(notes) <= SYNTHESIS_BUDGET_TOKENS
    assert time.perf_counter() - started < 5


def test_other_phases_have_the_smaller_budget() -> None:
    notes = digest(plan(1000), [finding(p, LONG) for p in range(1, 998)], 998)
    assert notes[-1].phase == 997
    assert DIGEST_BUDGET_TOKENS * 0.7 < total_of(notes) <= DIGEST_BUDGET_TOKENS


@given(st.lists(st.text(min_size=1), max_size=30), st.integers(min_value=30, max_value=500), st.booleans())
def test_the_budget_holds_for_any_text(texts: list[str], budget: int, last: bool) -> None:
    findings = [finding(phase, text) for phase, text in enumerate(texts, start=1)]
    phase = len(texts) + 1
    notes = digest(plan(phase if last else phase + 5), findings, phase, budget_tokens=budget)
    assert total_of(notes) <= budget
    if last:
        assert len(notes) == sum(1 for text in texts if text.strip())


def test_sentences_keep_their_citations_and_know_abbreviations() -> None:
    text = "# Head\nSmith et al. found it [2]. “Quoted.” [3][4] Next (e.g. this)\ngoes on. Fig. 3 by J. Doe."
    assert sentences(text + "\n- One\n- Two? Yes!") == [
        "Smith et al. found it [2].",
        "“Quoted.” [3][4]",
        "Next (e.g. this) goes on.",
        "Fig. 3 by J. Doe.",
        "One",
        "Two?",
        "Yes!",
    ]


def test_no_sentence_begins_in_lower_case() -> None:
    assert sentences("Use ver. two of it. Next… maybe! Then") == ["Use ver. two of it.", "Next… maybe!", "Then"]


def test_sentences_without_spaces_between_them() -> None:
    assert sentences("東京は大きい。大阪も。") == ["東京は大きい。", "大阪も。"]


@pytest.mark.parametrize("piece", [".", ". ", "a.) ", ". [1]", "#", "“", "\n", "[1, 1", "``` ", ". [1, 1"])
def test_hostile_text_is_split_in_linear_time(piece: str) -> None:
    started = time.perf_counter()
    sentences(piece * 50_000)
    assert time.perf_counter() - started < 5


def test_a_first_sentence_that_does_not_fit_is_cut_between_words() -> None:
    assert cut("A sentence that is too long to fit here.", 4) == "A sentence that…"
    assert cut(f"# {'x' * 70}\nOne two three four.", 10) == "One two…"
    assert cut("# Only a heading", 10) == "# Only a heading"
    assert cut(LONG, 12) == "Sentence number 0 says something of note."


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_a_clipped_text_is_never_longer(text: str, chars: int) -> None:
    assert len(clip(text, chars)) <= chars
