"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from graph.report.addresses import is_web
from graph.report.compose import MAX_MESSAGE_CHARS, is_recommendations
from graph.report.safety import inert

if TYPE_CHECKING:
    from graph.report.shape import CitedSource, Making, OpenQuestion, Partial, Report, ReportSection, Verification
    from graph.usage import Breakdown

MAX_LISTED: Final = 20
OFFLINE: Final = "offline"
OFFLINE_NOTICE: Final = (
    "The text was composed extractively by the embedded offline model: it quotes sentences of its sources and reasons "
    "about nothing."
)
NOTHING_WRITTEN: Final = "Nothing has been written yet."
_Escape = Callable[[str], str]
NO_SOURCE: Final = "No source is cited."


def markdown_of(report: Report) -> str:
    """The report as Markdown, with a line break at its end."""
    return "\n\n".join(part.strip() for part in _parts(report) if part.strip()) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield f"# Research report: {inert(report['title'])}"
    if report["partial"]:
        yield _partial(report["partial"])
    yield f"## Summary\n\n{report['summary'] or NOTHING_WRITTEN}"
    yield from (_section(section) for section in report["sections"] if not is_recommendations(section))
    yield _open_questions(report["open_questions"])
    yield from (_section(section) for section in report["sections"] if is_recommendations(section))
    yield f"## Sources\n\n{_lines(map(_source, report['sources'])) or NO_SOURCE}"
    if report["gaps"]:
        yield f"## What could not be had\n\n{_lines(inert(gap, MAX_MESSAGE_CHARS + 40) for gap in report['gaps'])}"
    yield f"## How this report was made\n\n{_lines(making_lines(report['making'], escape=inert))}"
    yield verification_line(report["verification"])


def _partial(partial: Partial) -> str:
    missing = partial["missing"]
    return (
        f"> **This report is partial:** {inert(partial['reason'])}.\n>\n> Missing: {inert(missing_of(missing), 4000)}."
    )


def missing_of(missing: Sequence[str]) -> str:
    """The missing phases as one enumeration."""
    more = len(missing) - MAX_LISTED
    named = "; ".join(missing[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
    return named or "nothing of the plan"


def marks_of(section: ReportSection) -> list[str]:
    """What is to be said before a section's text, as plain sentences."""
    unfinished = f"This phase is not finished: {section['calls']} of {section['of']} calls are done."
    return [mark for mark in ("" if section["finished"] else unfinished, section["note"]) if mark]


def text_of(section: ReportSection) -> str:
    """The section's text, or that there is none."""
    return section["text"].strip() or "The model wrote no text for this phase."


def _section(section: ReportSection) -> str:
    marks = [f"*{mark}*" for mark in marks_of(section)]
    return "\n\n".join([f"## {section['phase']}. {inert(section['title'])}", *marks, text_of(section)])


def _open_questions(questions: Sequence[OpenQuestion]) -> str:
    lines = _lines(f"{phases_of(question)}: {question['text']}" for question in questions)
    return f"## Open questions\n\n{lines}" if lines else ""


def phases_of(question: OpenQuestion) -> str:
    """Which phases leave it open: `Phases 2, 3`."""
    phases = question["phases"]
    return f"{'Phase' if len(phases) == 1 else 'Phases'} {', '.join(map(str, phases))}"


def _source(source: CitedSource) -> str:
    numbers = "".join(f"[{number}]" for number in source["numbers"])
    title, url = source["title"].strip(), source["url"]
    address = f"<{url}>" if is_web(url) else inert(url, chars=len(url))
    described = " — ".join(part for part in (inert(title) if title != url else "", address) if part)
    return f"{numbers} {described}"


def making_lines(making: Making, *, escape: _Escape) -> Iterator[str]:
    """How the report was made, a sentence each; `escape` makes what others wrote fit for the format."""
    yield f"Model: {', '.join(map(escape, making['models'])) or 'none was called'}."
    if OFFLINE in making["models"]:
        yield OFFLINE_NOTICE
    calls = _counted(making["model_calls"], "model call")
    yield f"Phases: {making['phases_finished']} of {making['phases_planned']} finished, with {calls}."
    yield from _usage(making["usage"], escape)
    if making["first_call_begun"]:
        yield f"First call begun {making['first_call_begun']}, last call ended {making['last_call_ended']}."
    yield f"Report composed {making['composed']}."
    if len(making["asked"]) > 1:
        for asked in making["asked"]:
            said = f" – {escape(asked['message'])}" if asked["message"] else ""
            yield f"Asked {asked['at']}: {asked['meaning']}{said}"


def _usage(usage: Breakdown, escape: _Escape) -> Iterator[str]:
    yield f"Tokens: {usage['input_tokens']:,} in, {usage['output_tokens']:,} out."
    if len(usage["by_role"]) > 1:
        roles = (f"{role} {u['input_tokens']:,} / {u['output_tokens']:,}" for role, u in usage["by_role"].items())
        yield f"By role, in / out: {'; '.join(roles)}."
    if cost := usage["cost"]:
        without = f", without {', '.join(map(escape, cost['unpriced']))}: no price is known" if cost["unpriced"] else ""
        yield f"Cost by the prices given: {cost['amount']:.4f} {escape(cost['currency'])}{without}."


def verification_line(checked: Verification) -> str:
    """What the check of citations came to, in sentences."""
    cited = f"{_counted(checked['citations'], 'citation')} of {_counted(checked['sources_cited'], 'source')}"
    removed = [
        (checked["removed_citations"], "citation had no source", "citations had no source"),
        (checked["removed_links"], "link led to no source", "links led to no source"),
        (
            checked["removed_source_lists"],
            "list of sources was the model's own",
            "lists of sources were the model's own",
        ),
    ]
    told = [f"{n} {one if n == 1 else many} and {_were(n)} removed" for n, one, many in removed if n]
    if quoted := checked["quotations"]:
        unverified = checked["unverified_quotations"]
        marked = f", {unverified} not found and marked" if unverified else ""
        told.append(f"{_counted(quoted, 'quotation')} looked up, {checked['verified_quotations']} found{marked}")
    return f"Verification, by code: {'; '.join([cited, *told])}. Whether a source supports a claim is not checked."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
