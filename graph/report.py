"""The report of one line of research, as Markdown: a pure function of what the thread holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from graph.digest import clip, cut

if TYPE_CHECKING:
    from graph.state import Asked, Finding, Gap, Source, SourceList

SUMMARY_TOKENS = 250
SECTION_LEVEL = 2
MAX_TITLE_CHARS = 160
MAX_MESSAGE_CHARS = 300
MAX_LISTED = 20
OFFLINE = "offline"
OFFLINE_NOTICE = (
    "The text was composed extractively by the embedded offline model: it quotes sentences of its sources and reasons "
    "about nothing."
)

_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_HEADING = re.compile(r"^((?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t])))*[ \t]*)(#{1,6})(?=\s|$)")
_UNDERLINE = re.compile(r"[\s>]*(=+|-+)\s*$")
_PLAIN_LINE = re.compile(r" {0,3}(?![#>|]|[-*+]\s|\d+[.)]\s)\S")
_TAG = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_IMAGE = re.compile(r"!(?=\[)")
# A link that poses as a citation; one that is no web address, or the definition of one.
_POSING = re.compile(r"(\[[\d,; ]+\])(?=\()")
_LINK = re.compile(r"(?<=\])\((?!\s*https?://)|(?<=\]):", re.IGNORECASE)
_CITATION = re.compile(r" ?\[(\d{1,9}(?:\s*[,;]\s*\d{1,9})*)\]")
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"\x00-\x1f]+", re.IGNORECASE)
_MARKS = re.compile(r"([\\`*_\[\]|~#])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class ReportMaterial:
    """What a report is made of. `findings`, `sources` and `gaps` are one line's; `now` is Unix seconds.

    `partial` says why the report is partial, as the end of a sentence, e.g. "the run was cancelled". `closing` is the
    synthesis that a run wrote which ended early, if it did.
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


@dataclass(frozen=True)
class Section:
    """What there is of one phase; `text` has only known citations and safe Markdown."""

    phase: int
    title: str
    finished: bool
    calls: int
    text: str


def compose_report(material: ReportMaterial) -> str:
    """The report as Markdown, with a line break at its end. What is missing is said at the top."""
    return "\n\n".join(part.strip() for part in _parts(_Report(material)) if part.strip()) + "\n"


class _Report:
    """What the sections of a report share."""

    def __init__(self, material: ReportMaterial) -> None:
        self.material = material
        self._calls = material.calls_per_phase
        self.known: dict[int, Source] = {}
        for source in (item for entry in material.sources for item in entry["items"]):
            self.known.setdefault(source["id"], source)
        self.cited: set[int] = set()
        self.removed = 0
        self.closing = safe_markdown(material.closing, self._with_known_citations).strip()
        self.sections = [self._section(phase) for phase in sorted({f["phase"] for f in material.findings})]

    @cached_property
    def missing(self) -> list[str]:
        done = {section.phase for section in self.sections if section.finished}
        plan = enumerate(self.material.plan, start=1)
        return [f"{phase}. {inert(title)}" for phase, title in plan if phase not in done]

    def _section(self, phase: int) -> Section:
        plan, findings = self.material.plan, [f for f in self.material.findings if f["phase"] == phase]
        whole = [f for f in findings if f["role"] == "synthesize" or f["index"] >= f.get("of", self._calls)]
        # A critique is no result: of an unfinished phase the text that it criticized is shown.
        texts = whole or [f for f in findings if f["role"] != "critique"] or findings
        text = next((f["text"] for f in reversed(texts) if f["text"].strip()), "")
        title = inert(plan[phase - 1]) if phase <= len(plan) else f"Phase {phase}"
        calls = len({f["index"] for f in findings})
        return Section(phase, title, bool(whole), calls, safe_markdown(text, self._with_known_citations))

    def _with_known_citations(self, prose: str) -> str:
        return _CITATION.sub(self._known_citation, prose)

    def _known_citation(self, match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", match[1])]
        kept = [number for number in numbers if number in self.known]
        self.cited.update(kept)
        self.removed += len(numbers) - len(kept)
        space = " " if match[0].startswith(" ") and kept else ""
        return space + "".join(f"[{number}]" for number in kept)


def _parts(report: _Report) -> Iterator[str]:
    yield f"# Research report: {inert(report.material.topic)}"
    yield _partial(report)
    yield f"## Summary\n\n{report.closing or _summary(report.sections)}"
    yield from (_section(section, report.material.calls_per_phase) for section in report.sections)
    yield _sources(report)
    yield _gaps(report.material.gaps)
    yield f"## How this report was made\n\n{_lines(_making(report))}"
    if report.removed:
        yield _counted(report.removed, "citation") + " had no source and " + _were(report.removed) + " removed."


def _partial(report: _Report) -> str:
    missing, partial = report.missing, report.material.partial
    if not partial and not missing:
        return ""
    more = len(missing) - MAX_LISTED
    named = "; ".join(missing[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
    reason = inert(partial or "not every planned phase was finished").rstrip(".")
    return f"> **This report is partial:** {reason}.\n>\n> Missing: {named or 'nothing of the plan'}."


def _summary(sections: Sequence[Section]) -> str:
    """The beginning of the last finished phase's text, since it synthesizes those before it."""
    written = [section for section in sections if section.text.strip()]
    if not written:
        return "Nothing has been written yet."
    last = next((section for section in reversed(written) if section.finished), written[-1])
    # On one line, what was code is prose, and what was in a list is at the margin.
    return _TAG.sub("&lt;", cut(last.text, SUMMARY_TOKENS)).lstrip("#>-*+ ")


def _section(section: Section, calls: int) -> str:
    mark = "" if section.finished else f"*This phase is not finished: {section.calls} of {calls} calls are done.*"
    text = section.text.strip() or "The model wrote no text for this phase."
    return "\n\n".join(part for part in (f"## {section.phase}. {section.title}", mark, text) if part)


def _sources(report: _Report) -> str:
    lines = (f"[{number}] {_described(report.known[number])}" for number in sorted(report.cited))
    return f"## Sources\n\n{_lines(lines) or 'No source is cited.'}"


def _described(source: Source) -> str:
    title, url = source["title"].strip(), source["url"].strip()
    address = f"<{url}>" if _WEB_ADDRESS.fullmatch(url) else inert(url, chars=len(url))
    return " — ".join(part for part in (inert(title) if title != url else "", address) if part)


def _gaps(gaps: Sequence[Gap]) -> str:
    lines = _lines(f"Phase {gap['phase']}: {inert(gap['message'], MAX_MESSAGE_CHARS)}" for gap in gaps)
    return f"## What could not be had\n\n{lines}" if lines else ""


def _making(report: _Report) -> Iterator[str]:
    material, findings = report.material, report.material.findings
    models = list(dict.fromkeys(finding["model"] for finding in findings))
    yield f"Model: {', '.join(inert(model) for model in models) or 'none was called'}."
    if OFFLINE in models:
        yield OFFLINE_NOTICE
    planned = len(material.plan)
    calls = _counted(len(findings), "model call")
    yield f"Phases: {planned - len(report.missing)} of {planned} finished, with {calls}."
    tokens = [sum(f["usage"][kind] for f in findings) for kind in ("input_tokens", "output_tokens")]
    yield f"Tokens: {tokens[0]:,} in, {tokens[1]:,} out."
    if findings:
        first, last = min(f["started_at"] for f in findings), max(f["ended_at"] for f in findings)
        yield f"First call begun {_utc(first)}, last call ended {_utc(last)}."
    yield f"Report composed {_utc(material.now)}."
    if len(material.asked) > 1:
        yield from (f"Asked {_utc(asked['at'])}: {_wish(asked)}" for asked in material.asked)


def _wish(asked: Asked) -> str:
    meaning = asked["steering"].replace("_", " ")
    message = inert(asked["message"], MAX_MESSAGE_CHARS)
    return f"{meaning} – {message}" if message else meaning


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def inert(text: str, chars: int = MAX_TITLE_CHARS) -> str:
    """`text` on one line of at most `chars` characters, with no meaning as Markdown or HTML."""
    line = clip(" ".join(_CONTROL.sub("", text).split()), chars)
    return _MARKS.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def safe_markdown(text: str, map_prose: Callable[[str], str]) -> str:
    """`text` fit for a section: headings below the section's, no HTML, images or odd links; `map_prose` spares code."""
    lines = _without_underlines(_with_code_told(_CONTROL.sub("", text).splitlines()))
    levels = [len(heading[2]) for code, line in lines if not code and (heading := _HEADING.match(line))]
    outline = _Outline(max(SECTION_LEVEL + 1 - min(levels, default=6), 0))
    return "\n".join(line if code else map_prose(_defused(outline.demoted(line))) for code, line in lines)


class _Outline:
    """Moves headings down by `shift`, and lets none skip a level."""

    def __init__(self, shift: int) -> None:
        self._shift, self._level = shift, SECTION_LEVEL

    def demoted(self, line: str) -> str:
        heading = _HEADING.match(line)
        if not heading:
            return line
        self._level = min(len(heading[2]) + self._shift, self._level + 1, 6)
        return heading[1] + "#" * self._level + line[heading.end() :]


def _defused(line: str) -> str:
    plain = _IMAGE.sub("", _TAG.sub("&lt;", line))
    return _POSING.sub(r"\1\\", _LINK.sub(r"\\\g<0>", plain))


def _with_code_told(lines: Sequence[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is code. Only a fence at the margin counts: no list or quotation can end it."""
    fence = ""
    for line in lines:
        opening = None if fence else _FENCE.match(line)
        yield bool(fence or opening), line
        bare = line.strip()
        if opening:
            fence = opening[1] or opening[2]
        elif fence and len(bare) >= len(fence) and not bare.strip(fence[0]):
            fence = ""
    if fence:
        yield True, fence


def _without_underlines(lines: Iterable[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Underlined headings become ones with `#`; other underlines are set apart, so that they are none."""
    kept: list[tuple[bool, str]] = [(True, "")]
    for code, line in lines:
        before_is_code, before = kept[-1]
        underline = None if code or before_is_code or not before.strip() else _UNDERLINE.match(line)
        if underline and _PLAIN_LINE.match(before):
            kept[-1] = (False, f"{'#' if '=' in underline[1] else '##'} {before.strip()}")
            continue
        kept += [(False, ""), (code, line)] if underline else [(code, line)]
    return kept[1:]
