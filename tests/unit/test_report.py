from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.context import Role, roles
from graph.report import ReportMaterial, compose_report, inert
from graph.state import Asked, Finding, Gap, Source, SourceList
from graph.usage import spent_by

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def finding(phase: int, index: int, role: Role, text: str, model: str = "openai:gpt-5") -> Finding:
    return Finding(
        line=1,
        turn=1,
        phase=phase,
        index=index,
        role=role,
        text=text,
        model=model,
        usage={"input_tokens": 1000, "output_tokens": 10},
        phase_started_at=START,
        started_at=START + phase * 60,
        ended_at=START + phase * 60 + 30,
    )


def source(number: int, title: str = "A title", url: str = "https://example.org/a") -> Source:
    return Source(id=number, title=title, url=url, snippet="")


def asked(turn: int, message: str) -> Asked:
    steering = "new_topic" if turn == 1 else "guidance"
    return Asked(turn=turn, line=1, steering=steering, message=message, topic="T", at=START + turn)  # type: ignore[typeddict-item]


DONE = ReportMaterial(
    topic="Heat pumps",
    plan=["Costs", "Recommendations"],
    findings=[
        finding(1, 1, "research", "A draft."),
        finding(1, 2, "synthesize", "They cost much [3]. Gas costs less [1]."),
        finding(2, 1, "research", "Another draft."),
        finding(2, 2, "synthesize", "Buy one [3]."),
    ],
    calls_per_phase=2,
    sources=[SourceList(line=1, turn=1, phase=1, items=[source(1, "Gas", "papers/gas.pdf"), source(2), source(3)])],
    gaps=[],
    asked=[asked(1, "Heat pumps")],
    partial=None,
    now=START + 3600,
    spent=spent_by(finding(phase, index, roles(2)[index - 1], "") for phase in (1, 2) for index in (1, 2)),
)


def with_text(text: str) -> str:
    return compose_report(replace(DONE, plan=["Costs"], findings=[finding(1, 2, "synthesize", text)]))


def section_of(text: str) -> str:
    return with_text(text).split("## 1. Costs\n\n")[1].split("\n\n## Sources")[0]


def headings(report: str) -> list[str]:
    return re.findall(r"^#+ .*", report, re.MULTILINE)


def test_a_complete_report_has_all_its_sections() -> None:
    report = compose_report(DONE)
    assert headings(report) == [
        "# Research report: Heat pumps",
        "## Summary",
        "## 1. Costs",
        "## 2. Recommendations",
        "## Sources",
        "## How this report was made",
    ]
    assert "## Summary\n\nBuy one [3].\n" in report
    assert "draft" not in report
    assert "partial" not in report
    assert "removed" not in report
    assert "Verification, by code: 3 citations of 2 sources. Whether" in report


def test_a_phase_counts_the_calls_that_it_had_itself() -> None:
    """A later turn may make more calls a phase than the one that did this phase."""
    once = [finding(1, 1, "research", "Costs."), finding(2, 1, "research", "Buy.")]
    done = [Finding(**{**each, "of": 1}) for each in once]
    assert "partial" not in compose_report(replace(DONE, findings=done))
    assert "partial" in compose_report(replace(DONE, findings=once))


def test_only_cited_sources_are_listed_by_number() -> None:
    report = compose_report(DONE)
    assert "## Sources\n\n- [1] Gas — papers/gas.pdf\n- [3] A title — <https://example.org/a>\n" in report
    assert "[2]" not in report


def test_how_it_was_made_is_counted() -> None:
    report = compose_report(DONE)
    assert "- Model: openai:gpt-5.\n" in report
    assert "- Phases: 2 of 2 finished, with 4 model calls.\n" in report
    assert "- Tokens: 4,000 in, 40 out.\n" in report
    assert "- First call begun 2027-01-15T08:01:00Z, last call ended 2027-01-15T08:02:30Z.\n" in report
    assert "extractively" not in report
    assert "Asked" not in report


def test_steers_are_told_with_their_times() -> None:
    report = compose_report(replace(DONE, asked=[asked(1, "Heat pumps"), asked(2, "Only <b>Norway</b>")]))
    assert "- Asked 2027-01-15T08:00:01Z: new topic – Heat pumps\n" in report
    assert "- Asked 2027-01-15T08:00:02Z: guidance – Only &lt;b&gt;Norway&lt;/b&gt;\n" in report


def test_the_offline_models_report_says_what_it_is() -> None:
    findings = [finding(1, 2, "synthesize", "Text.", "offline")]
    report = compose_report(replace(DONE, findings=findings, spent=spent_by(findings)))
    assert "composed extractively by the embedded offline model" in report


def test_a_partial_report_says_at_the_top_why_and_what_is_missing() -> None:
    material = replace(
        DONE, plan=["Costs", "Recommendations", "More"], findings=DONE.findings[:3], partial="it stopped"
    )
    report = compose_report(material)
    assert report.split("\n\n")[1] == (
        "> **This report is partial:** it stopped.\n>\n> Missing: 2. Recommendations; 3. More."
    )
    assert "## 2. Recommendations\n\n*This phase is not finished: 1 of 2 calls are done.*\n\nAnother draft.\n" in report
    assert "## Summary\n\nThey cost much [3]. Gas costs less [1].\n" in report
    assert "## 3. More" not in report
    assert "- Phases: 1 of 3 finished" in report


def test_an_unfinished_report_is_partial_whatever_it_is_told() -> None:
    assert "**This report is partial:** not every planned phase" in compose_report(replace(DONE, plan=["A", "B", "C"]))


def test_a_long_list_of_missing_phases_is_cut() -> None:
    report = compose_report(replace(DONE, plan=[f"P{i}" for i in range(1, 101)]))
    assert "22. P22; and 78 more." in report


def test_a_report_of_nothing_says_so() -> None:
    report = compose_report(replace(DONE, findings=[], spent=(), partial="it stopped"))
    assert "## Summary\n\nNothing has been written yet.\n" in report
    assert "No source is cited." in report
    assert "- Model: none was called." in report


def test_of_an_unfinished_phase_the_text_is_shown_and_not_its_critique() -> None:
    findings = [finding(1, 1, "research", "The draft."), finding(1, 2, "critique", "It is weak.")]
    report = compose_report(replace(DONE, calls_per_phase=4, findings=findings))
    assert "2 of 4 calls are done.*\n\nThe draft.\n" in report
    assert "weak" not in report


def test_a_finished_section_stays_while_its_phase_is_done_again() -> None:
    report = compose_report(replace(DONE, findings=[*DONE.findings, finding(1, 1, "research", "Anew.")]))
    assert "They cost much" in report
    assert "Anew" not in report


def test_with_one_call_a_phase_the_research_is_the_section() -> None:
    report = compose_report(replace(DONE, calls_per_phase=1, plan=["Costs"], findings=DONE.findings[:1]))
    assert "## 1. Costs\n\nA draft.\n" in report
    assert "not finished" not in report


def test_gaps_are_told() -> None:
    report = compose_report(replace(DONE, gaps=[Gap(line=1, phase=2, message="a [file](x) could\nnot be read")]))
    assert "## What could not be had\n\n- Phase 2: a \\[file\\](x) could not be read\n" in report


@pytest.mark.parametrize(
    ("text", "expected", "removed"),
    [
        ("Known [1][3].", "Known [1][3].", 0),
        ("Unknown [99].", "Unknown.", 1),
        ("Mixed [1, 99; 3] text.", "Mixed [1][3] text.", 1),
        ("All [7] [8] gone [1].", "All gone [1].", 2),
        ("No number [a] and [12345678901].", "No number [a] and [12345678901].", 0),
        ("```\na [99]\n```", "```\na [99]\n```", 0),
    ],
)
def test_citations_without_a_source_are_removed_and_counted(text: str, expected: str, removed: int) -> None:
    assert section_of(text) == expected
    last = with_text(text).rstrip().rsplit("\n", 1)[-1]
    assert last.startswith("Verification, by code: ")
    lines = {0: "", 1: "; 1 citation had no source and was removed"}
    assert lines.get(removed, f"; {removed} citations had no source and were removed") in last
    assert removed or "removed" not in last


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n## B\n# C\n#### D", "### A\n#### B\n### C\n#### D"),
        ("### A\n##### B\n###### C", "### A\n#### B\n##### C"),
        ("#### A\n### B", "### A\n### B"),
        ("Head\n====\nText\n\nSub\n---\nMore", "### Head\nText\n\n#### Sub\nMore"),
        ("> # Quoted\n- # Listed", "> ### Quoted\n- ### Listed"),
        ("- item\n---\nText", "- item\n\n---\nText"),
        ("```sh\n# comment\nx\n---\n```\n# A", "```sh\n# comment\nx\n---\n```\n### A"),
        ("#hashtag", "#hashtag"),
    ],
)
def test_headings_are_demoted_so_that_the_outline_stays_sound(text: str, expected: str) -> None:
    assert section_of(text) == expected


def test_a_fence_left_open_is_closed() -> None:
    assert section_of("~~~~\ncode\n~~~") == "~~~~\ncode\n~~~\n~~~~"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <script>x</script> <!-- b 1 < 2", "a &lt;script>x&lt;/script> &lt;!-- b 1 < 2"),
        ("![x](https://example.org/a)", "[x](https://example.org/a)"),
        ("![x](https://evil.example)", "x"),
        ("[x](javascript:alert(1))", "[x]\\(javascript:alert(1))"),
        ("[x](http://www.Example.org/a/#part) y", "[x](http://www.Example.org/a/#part) y"),
        ("[x](https://example.org) [Report 2023](http://a.b) y", "x Report 2023 y"),
        ("so it is [3](https://evil.example)", "so it is [3]\\((link removed))"),
        ("[3]: https://evil.example", "[3]\\: (link removed)"),
        ("see <https://evil.example/x>.", "see &lt;(link removed)>."),
        ("see WWW.evil.example/x, and go", "see (link removed), and go"),
        ("  ```\n<b>\n  ```", "```\n&lt;b>\n  ```"),
    ],
)
def test_what_models_write_is_defused(text: str, expected: str) -> None:
    assert section_of(text) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://example.org/a_(b)?q=1&r", "<http://example.org/a_(b)?q=1&r>"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("https://a b> <script>", "https://a b&gt; &lt;script&gt;"),
        ("[x](data:text/html,y)", "\\[x\\](data:text/html,y)"),
    ],
)
def test_only_web_addresses_are_links(url: str, shown: str) -> None:
    sources = [SourceList(line=1, turn=1, phase=1, items=[source(3, "*T* <b>", url)])]
    assert f"\n- [3] \\*T\\* &lt;b&gt; — {shown}\n" in compose_report(replace(DONE, sources=sources))


def test_topic_and_titles_are_inert_and_short() -> None:
    report = compose_report(replace(DONE, topic="<b>x\n# y " * 4000, plan=["[a](b)", "two\nlines"]))
    title = report.split("\n", 1)[0]
    assert title.startswith("# Research report: &lt;b&gt;x \\# y ")
    assert title.endswith("…")
    assert headings(report)[2:4] == ["## 1. \\[a\\](b)", "## 2. two lines"]


def test_the_summary_of_code_is_no_html() -> None:
    report = with_text("```\n<script>alert(1)</script>\n```")
    assert "## Summary\n\n&lt;script>alert(1)&lt;/script>\n" in report


@given(st.text(st.sampled_from("#`~=->< \n[]()1a!*:\ud800\x00."), max_size=200))
def test_the_outline_is_sound_for_any_text(text: str) -> None:
    report = compose_report(replace(DONE, topic=text, findings=[finding(1, 2, "synthesize", text)]))
    report.encode("utf-8")
    levels = [0, *(len(line.split(" ", 1)[0]) for line in headings(report))]
    assert "`" in text or "~" in text or all(low <= high + 1 for high, low in pairwise(levels))
    assert headings(report)[-1] == "## How this report was made"


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_inert_text_is_one_line_without_markup(text: str, chars: int) -> None:
    made = inert(text, chars)
    assert len(made.splitlines()) <= 1
    assert not re.search(r"[<>]|(?<!\\)[`*_\[\]|~#]", made.replace("\\\\", ""))
