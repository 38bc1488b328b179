"""The report of one line of research: a pure function of what the thread holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from graph.digest import cut
from graph.report.citations import Registry, Verifier, grouped
from graph.report.parts import split_open, split_summary, without_source_lists
from graph.report.safety import plain, safe_markdown, without_tags
from graph.report.shape import (
    CitedSource,
    Making,
    OpenQuestion,
    Partial,
    Report,
    ReportSection,
    Steer,
    Verification,
)
from graph.thinking import without_thinking
from graph.usage import breakdown

if TYPE_CHECKING:
    from graph.prices import Prices
    from graph.state import Asked, Finding, Gap, SourceList
    from graph.usage import Spent

SUMMARY_TOKENS = 250
MAX_MESSAGE_CHARS = 300
RECOMMENDATIONS = "Recommendations"
_MARKERS = re.compile(r"\A(?:[-*+#]+\s+|\s*>+\s*)+")
NOTHING_FOUND = "The search for this phase found nothing: its text rests on no source of its own."


@dataclass(frozen=True, kw_only=True)
class ReportMaterial:
    """What a report is made of. `findings` and `gaps` are one line's, `sources` the thread's; `now` is Unix seconds.

    `partial` says why the report is partial, as the end of a sentence, e.g. "the run was cancelled". `closing` is the
    synthesis that a run wrote which ended early, if it did. `spent` is what all of it cost.
    """

    topic: str
    plan: Sequence[str]
    findings: Sequence[Finding]
    calls_per_phase: int
    sources: Sequence[SourceList]
    gaps: Sequence[Gap]
    asked: Sequence[Asked]
    partial: str | None
    now: float
    closing: str = ""
    spent: Sequence[Spent] = ()
    prices: Prices | None = None


@dataclass(frozen=True)
class _Part:
    """A section, and what was taken out of its text for other parts of the report."""

    section: ReportSection
    summary: str
    open: str


def compose(material: ReportMaterial) -> Report:
    """The report, every text of it checked. What is missing is said in `partial`."""
    composer = _Composer(material)
    parts = [composer.part(phase) for phase in sorted({f["phase"] for f in material.findings})]
    closing = composer.safe(material.closing, composer.registry.highest)
    sections = [part.section for part in parts]
    return Report(
        title=plain(material.topic),
        partial=_partial(material, sections),
        summary=split_summary(closing)[0] or closing or _summary(parts),
        sections=sections,
        open_questions=_open_questions(parts),
        recommendations=next((s["text"] for s in sections if is_recommendations(s)), ""),
        sources=composer.sources(),
        gaps=[_gap(gap) for gap in material.gaps],
        verification=composer.verification(),
        making=_making(material, sections),
    )


def is_recommendations(section: ReportSection) -> bool:
    """Whether it is the section of the plan's recommendations."""
    return section["title"] == RECOMMENDATIONS


class _Composer:
    """What the parts of a report share: the registry of sources, and the check of citations against it."""

    def __init__(self, material: ReportMaterial) -> None:
        self._material = material
        self.registry = Registry(material.sources)
        self._verifier = Verifier(self.registry)

    def safe(self, text: str, known: int) -> str:
        """A model's text as it may stand in the report; it can have known of sources up to number `known`."""
        own, removed = without_source_lists(without_thinking(text))
        self._verifier.tally.removed_lists += removed
        return safe_markdown(own, lambda run: self._verifier.verified(run, known)).strip()

    def part(self, phase: int) -> _Part:
        plan, findings = self._material.plan, [f for f in self._material.findings if f["phase"] == phase]
        of = findings[-1].get("of", self._material.calls_per_phase)
        whole = [f for f in findings if f["role"] == "synthesize" or f["index"] >= f.get("of", of)]
        chosen = _chosen(whole, findings)
        text = self.safe(chosen["text"], self.registry.known_to(chosen))
        summary, text = split_summary(text)
        open_, text = split_open(text)
        found = self._found(phase)
        section = ReportSection(
            phase=phase,
            title=plain(plan[phase - 1]) if phase <= len(plan) else f"Phase {phase}",
            finished=bool(whole),
            calls=len({f["index"] for f in findings}),
            of=of,
            sources=found,
            note=NOTHING_FOUND if found == 0 else "",
            text=text or (summary if not open_ else ""),
        )
        return _Part(section, summary, open_)

    def _found(self, phase: int) -> int | None:
        """How many sources the phase's last search found; None where the state tells of no search."""
        line = next((f["line"] for f in self._material.findings), 0)
        entries = [e for e in self._material.sources if e["line"] == line and e["phase"] == phase]
        return len(entries[-1]["items"]) if entries else None

    def sources(self) -> list[CitedSource]:
        """The sources that the checked texts cite. To be called behind all of them."""
        return [
            CitedSource(
                numbers=list(numbers),
                title=plain(source["title"]),
                url=source["url"].strip(),
                place=plain(source.get("place", "")),
                origin=source.get("origin", ""),
            )
            for numbers, source in grouped(self.registry, self._verifier.cited)
        ]

    def verification(self) -> Verification:
        tally = self._verifier.tally
        return Verification(
            sources_cited=len(self._verifier.cited),
            citations=tally.citations,
            removed_citations=tally.removed_citations,
            removed_links=tally.removed_links,
            removed_source_lists=tally.removed_lists,
            quotations=tally.quotations,
            verified_quotations=tally.quotations - tally.unverified_quotations,
            unverified_quotations=tally.unverified_quotations,
        )


def _chosen(whole: Sequence[Finding], findings: Sequence[Finding]) -> Finding:
    # A critique is no result: of an unfinished phase the text that it criticized is shown.
    texts = whole or [f for f in findings if f["role"] != "critique"] or findings
    return next((f for f in reversed(texts) if f["text"].strip()), texts[-1])


def _partial(material: ReportMaterial, sections: Sequence[ReportSection]) -> Partial | None:
    done = {section["phase"] for section in sections if section["finished"]}
    missing = [f"{n}. {plain(title)}" for n, title in enumerate(material.plan, start=1) if n not in done]
    if not material.partial and not missing:
        return None
    reason = plain(material.partial or "not every planned phase was finished").rstrip(".")
    return Partial(reason=reason, missing=missing)


def _summary(parts: Sequence[_Part]) -> str:
    """What the last phase wrote as the summary; else the beginning of its text, since it synthesizes the others."""
    written = [part for part in parts if part.summary or part.section["text"]]
    if not written:
        return ""
    last = next((part for part in reversed(written) if part.section["finished"]), written[-1])
    # On one line, what was code is prose, and what was in a list is at the margin.
    return last.summary or _MARKERS.sub("", without_tags(cut(last.section["text"], SUMMARY_TOKENS)))


def _open_questions(parts: Sequence[_Part]) -> list[OpenQuestion]:
    said: dict[str, list[int]] = {}
    for part in parts:
        if part.open:
            said.setdefault(" ".join(part.open.split()), []).append(part.section["phase"])
    return [OpenQuestion(phases=phases, text=text) for text, phases in said.items()]


def _gap(gap: Gap) -> str:
    message = plain(gap["message"], MAX_MESSAGE_CHARS)
    return f"Phase {gap['phase']}: {message}" if gap["phase"] else message


def _making(material: ReportMaterial, sections: Sequence[ReportSection]) -> Making:
    findings = material.findings
    return Making(
        models=[plain(model) for model in dict.fromkeys(row["model"] for row in material.spent)],
        phases_finished=sum(section["finished"] and section["phase"] <= len(material.plan) for section in sections),
        phases_planned=len(material.plan),
        model_calls=len(findings),
        usage=breakdown(material.spent, material.prices),
        first_call_begun=_utc(min(f["started_at"] for f in findings)) if findings else None,
        last_call_ended=_utc(max(f["ended_at"] for f in findings)) if findings else None,
        composed=_utc(material.now),
        asked=[_steer(asked) for asked in material.asked],
    )


def _steer(asked: Asked) -> Steer:
    meaning = asked["steering"].replace("_", " ")
    return Steer(at=_utc(asked["at"]), meaning=meaning, message=plain(asked["message"], MAX_MESSAGE_CHARS))


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
