"""Citations, links, quotations and lists of sources: what no search has brought goes, and is counted."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.report import Report, ReportMaterial, compose
from graph.report.addresses import address_key
from graph.report.quotations import letters, quotations, stands_in
from graph.state import Finding, Source, SourceList

PASSAGE = (
    "A station on the Arven estuary was opened in 1987 – with twelve turbines, each of 9 MW. It *cost* 410 million "
    "crowns, says https://arven.example/costs."
)


def source(number: int, url: str = "", snippet: str = PASSAGE, **more: object) -> Source:
    source = Source(id=number, title=f"Title {number}", url=url or f"https://example.org/{number}", snippet=snippet)
    return {**source, **more}  # type: ignore[typeddict-item]


def finding(text: str, phase: int = 1, turn: int = 1) -> Finding:
    return Finding(
        line=1,
        turn=turn,
        phase=phase,
        index=1,
        of=1,
        role="research",
        text=text,
        model="offline",
        usage={"input_tokens": 1, "output_tokens": 1},
        phase_started_at=0.0,
        started_at=0.0,
        ended_at=1.0,
    )


def entry(*items: Source, phase: int = 1, turn: int = 1) -> SourceList:
    return SourceList(line=1, turn=turn, phase=phase, items=list(items))


def report_of(*findings: Finding, sources: list[SourceList] | None = None) -> Report:
    plan = [f"Part {n}" for n in range(1, max(f["phase"] for f in findings) + 1)]
    return compose(
        ReportMaterial(
            topic="Arven",
            plan=plan,
            findings=findings,
            calls_per_phase=1,
            sources=[entry(source(1), source(2))] if sources is None else sources,
            gaps=[],
            asked=[],
            partial=None,
            now=0.0,
        )
    )


def checked(text: str, *items: Source) -> tuple[str, dict[str, int]]:
    report = report_of(finding(text), sources=[entry(*(items or (source(1), source(2))))])
    counts = {name: n for name, n in report["verification"].items() if isinstance(n, int) and n}
    return report["sections"][0]["text"], counts


def test_a_number_counts_only_from_the_phase_whose_search_brought_it() -> None:
    """Else a number that was made up becomes true when later searches reach it."""
    sources = [entry(source(1)), entry(source(2), phase=2)]
    report = report_of(finding("Forged [2]."), finding("Found [2].", phase=2), sources=sources)
    assert [section["text"] for section in report["sections"]] == ["Forged.", "Found [2]."]
    assert report["verification"]["removed_citations"] == 1
    assert [cited["numbers"] for cited in report["sources"]] == [[2]]


def test_a_source_of_an_earlier_topic_of_the_thread_may_be_cited() -> None:
    earlier = SourceList(line=0, turn=1, phase=9, items=[source(1)])
    report = report_of(finding("Known [1].", turn=2), sources=[earlier, entry(source(2), turn=2)])
    assert report["sections"][0]["text"] == "Known [1]."


@pytest.mark.parametrize("text", ["[999]", "[0]", "[1, 999]", "[999; 2]"])
def test_forged_numbers_go(text: str) -> None:
    shown, counts = checked(f"It is so {text} and so.")
    assert "999" not in shown
    assert "[0]" not in shown
    assert counts["removed_citations"] == 1


def test_passages_of_one_place_are_listed_together() -> None:
    one, two = source(1, "https://example.org/a"), source(2, "http://www.example.org/a/?utm_source=x", "Other words.")
    two["title"] = one["title"]
    report = report_of(finding("So [1], and so [2]."), sources=[entry(one, two)])
    assert [cited["numbers"] for cited in report["sources"]] == [[1, 2]]


@pytest.mark.parametrize(
    "quoted",
    [
        "A station on the Arven estuary was opened in 1987",
        "opened in 1987 - with twelve turbines, each of 9 MW",
        "a station on the Arven estuary … twelve turbines, each of 9 MW",
        "A station […] was opened in 1987 [sic] with twelve turbines",
        "It cost 410 million crowns, says arven.example/costs",
    ],
)
@pytest.mark.parametrize("marks", ["“{}” [1]", '"{}" [1]', "«{}» [1]", "> {} [1]"])
def test_a_quotation_that_stands_in_its_source_is_verified(quoted: str, marks: str) -> None:
    text, counts = checked(marks.format(quoted))
    assert "not found" not in text
    assert counts["quotations"] == counts["verified_quotations"] == 1


@pytest.mark.parametrize(
    "quoted",
    [
        "A station on the Arven estuary was opened in 1988",
        "twelve turbines, each of 9 MW … A station on the Arven estuary",
        "The station has never paid for itself at all",
        "A … station … was … of … nine … crowns … each … costs",
    ],
)
@pytest.mark.parametrize("marks", ["“{}” [1]", '"{}," they say [1]', "> {} [1]"])
def test_a_quotation_that_does_not_is_marked(quoted: str, marks: str) -> None:
    text, counts = checked(marks.format(quoted))
    assert text.endswith("*(not found in the source)*")
    assert counts["unverified_quotations"] == counts["quotations"] == 1


def test_a_quotation_is_looked_for_in_the_source_that_is_cited_for_it() -> None:
    text, _ = checked(
        "“A station on the Arven estuary was opened in 1987” [2].", source(1), source(2, snippet="Something else.")
    )
    assert "not found" in text


def test_without_a_citation_any_source_will_do() -> None:
    text, counts = checked("They say “A station on the Arven estuary was opened in 1987”. Next [1].")
    assert "not found" not in text
    assert counts["verified_quotations"] == 1


def test_the_words_of_a_search_engine_prove_no_quotation() -> None:
    text, _ = checked("“A station on the Arven estuary was opened in 1987” [1]", source(1, summary=True))
    assert "not found" in text


@pytest.mark.parametrize(
    "text", ['a so-called "smart" grid', '12" pipes and 14" pipes in use here', "“twelve turbines”"]
)
def test_terms_and_measures_are_no_quotations(text: str) -> None:
    assert list(quotations(text)) == []


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/1",
        "http://example.org/1/",
        "https://www.example.org/1?utm_campaign=x#top",
        "www.example.org/1",
    ],
)
def test_links_to_sources_stay(address: str) -> None:
    text, counts = checked(f"See {address} for more [1].")
    assert address in text
    assert "removed_links" not in counts


@pytest.mark.parametrize(
    "text",
    [
        "See https://evil.example/?q=1.",
        "See [here](https://evil.example/a_(b) 'title').",
        "See [here](HTTPS://EVIL.example).",
        "See <https://evil.example>.",
        "See [a [b] c](https://evil.example).",
        "See www.evil.example.",
        "See https://example.org.evil.example/1.",
        "See https://example.org@evil.example/1.",
        "See https://example.org/12.",
        "See `https://evil.example`.",
        "[x]: https://evil.example",
        "| a |\n|---|\n| https://evil.example |",
    ],
)
def test_links_to_anything_else_go(text: str) -> None:
    shown, counts = checked(text)
    assert "evil" not in shown.lower()
    assert "org/12" not in shown
    assert counts["removed_links"] == 1


def test_an_address_with_brackets_is_one_address() -> None:
    text, counts = checked(
        "[x](https://example.org/a_(b)) and https://example.org/a_(b).", source(1, "https://example.org/a_(b)")
    )
    assert text == "[x](https://example.org/a_(b)) and https://example.org/a_(b)."
    assert "removed_links" not in counts


@pytest.mark.parametrize(
    "listed",
    [
        "## Sources\n\n[1] Evil Times — https://evil.example\n[2] More",
        "# References\n- Evil Times, 2024\n- [9] Other",
        "**Sources:**\n\n1. Evil Times (https://evil.example)",
        "Sources:\n* Evil Times",
        "### Literatur\n- Evil Times",
    ],
)
def test_a_models_own_list_of_sources_goes(listed: str) -> None:
    report = report_of(finding(f"True [1].\n\n{listed}\n\n## Costs\n\nMore text [2]."))
    text = report["sections"][0]["text"]
    assert "Evil" not in text
    assert "True [1]." in text
    assert "More text [2]." in text
    assert report["verification"]["removed_source_lists"] == 1


def test_prose_on_sources_stays() -> None:
    text, counts = checked("## Sources of energy\n\nSources: the tide and the wind are used [1].")
    assert "the tide and the wind" in text
    assert "removed_source_lists" not in counts


def test_summary_and_open_questions_are_taken_out_of_the_sections() -> None:
    first = finding("It works [1].\n\n**Open:** What of storms?\n")
    last = finding("**Summary:** In short [2].\n\nDo this [1].\n\n**Open:** What of storms?", phase=2)
    report = report_of(first, last)
    assert report["summary"] == "In short [2]."
    assert [section["text"] for section in report["sections"]] == ["It works [1].", "Do this [1]."]
    assert report["open_questions"] == [{"phases": [1, 2], "text": "What of storms?"}]


def test_a_thought_whose_end_alone_came_is_not_in_the_report() -> None:
    text, _ = checked("The user wants X. I should lie.\n</think>\n\nThe answer [1].")
    assert text == "The answer [1]."


def test_an_empty_search_is_said() -> None:
    report = report_of(finding("General knowledge."), sources=[entry()])
    assert "found nothing" in report["sections"][0]["note"]
    assert report["sections"][0]["sources"] == 0


@given(st.text(st.sampled_from('[](),;<>"“”>/:.w`\n 19ehtps*_-#'), max_size=300))
def test_whatever_a_model_writes_only_known_numbers_and_addresses_are_left(text: str) -> None:
    report = report_of(finding(text))
    for section in report["sections"]:
        if "```" not in text and "~~~" not in text:
            assert "[9]" not in section["text"].replace("\\", "")
    assert {n for cited in report["sources"] for n in cited["numbers"]} <= {1, 2}


@given(st.text(max_size=80))
def test_an_address_has_one_key(text: str) -> None:
    assert address_key(address_key(text)) == address_key(text) or text.lower().startswith("http")


# Without what may stand for left out or inserted words, and without entities and addresses.
PROSE = st.text(st.sampled_from("aBcé ßñ日本,;-–—*_()'\n0123"), max_size=120)


@given(PROSE, PROSE)
def test_what_is_copied_is_found(words: str, around: str) -> None:
    source = letters(around + words + around)
    assert stands_in(words, ["", source]) == bool(letters(words))


@given(PROSE.filter(lambda text: bool(letters(text))))
def test_what_was_changed_is_not_found(words: str) -> None:
    assert not stands_in(f"x{words}", [letters(words + words)])


@pytest.mark.parametrize(
    "piece",
    [
        "[x](https://a ",
        "“",
        '" a',
        "[1",
        "**Open:** ",
        "> ",
        "[1,",
        "((((",
        "[[",
        "https://a(",
        "**Summary:** x ",
        "…",
        "## Sources\n",
    ],
)
def test_no_text_makes_the_check_slow(piece: str) -> None:
    """Each step goes through a text once: ten times the text takes about ten times as long, not a hundred times."""
    took = []
    for times in (4_000, 40_000):
        started = time.process_time()
        report_of(finding(piece * times))
        took.append(time.process_time() - started)
    assert took[1] < 40 * max(took[0], 0.005)
