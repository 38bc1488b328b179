"""A report as it is stored and as `?format=json` gives it; Markdown, HTML, PDF and DOCX are made from it."""

from __future__ import annotations

from typing import TypedDict

from graph.usage import Breakdown


class Partial(TypedDict):
    """Why a report is partial, as the end of a sentence, and the phases that are missing, as `3. Costs`."""

    reason: str
    missing: list[str]


class ReportSection(TypedDict):
    """What there is of one phase. `text` is safe Markdown with checked citations; `note` is ours, plain text.

    `sources` is how many its last search found, null where the state tells of no search.
    """

    phase: int
    title: str
    finished: bool
    calls: int
    of: int
    sources: int | None
    note: str
    text: str


class OpenQuestion(TypedDict):
    """What phases say is open; `text` is safe Markdown."""

    phases: list[int]
    text: str


class CitedSource(TypedDict):
    """A source by the numbers it is cited by, each a passage. `place` is where in it, `origin` what found it."""

    numbers: list[int]
    title: str
    url: str
    place: str
    origin: str


class Verification(TypedDict):
    """What the check of citations by code came to, as counts."""

    sources_cited: int
    citations: int
    removed_citations: int
    removed_links: int
    removed_source_lists: int
    quotations: int
    verified_quotations: int
    unverified_quotations: int


class Steer(TypedDict):
    """What was asked of the thread, and when."""

    at: str
    meaning: str
    message: str


class Making(TypedDict):
    """How a report was made; times are UTC, null where nothing was called."""

    models: list[str]
    phases_finished: int
    phases_planned: int
    model_calls: int
    usage: Breakdown
    first_call_begun: str | None
    last_call_ended: str | None
    composed: str
    asked: list[Steer]


class Report(TypedDict):
    """A whole report. Titles, notes and gaps are plain text; `summary` and the sections' texts are Markdown."""

    title: str
    partial: Partial | None
    summary: str
    sections: list[ReportSection]
    open_questions: list[OpenQuestion]
    recommendations: str
    sources: list[CitedSource]
    gaps: list[str]
    verification: Verification
    making: Making
