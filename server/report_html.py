"""A report as one HTML document that needs nothing beside it: no script, no font, no picture, no other address."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graph.report.addresses import is_web
from graph.report.compose import is_recommendations
from graph.report.markdown import (
    NO_SOURCE,
    NOTHING_WRITTEN,
    making_lines,
    marks_of,
    missing_of,
    phases_of,
    text_of,
    verification_line,
)
from server.rendering import html_of

if TYPE_CHECKING:
    from graph.report import Report
    from graph.report.shape import CitedSource, ReportSection
    from graph.usage import Breakdown

STYLE: Final = Path(__file__).with_name("report.css")


@cache
def _style() -> str:
    return STYLE.read_text("utf-8")


@cache
def content_security_policy() -> str:
    """What a browser lets the document do: show its one style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


def html_report(report: Report) -> str:
    """The report as a whole document."""
    return _document(report["title"], "\n".join(_parts(report)))


def html_of_markdown(title: str, markdown: str) -> str:
    """A document of a report of which only its Markdown is known."""
    return _document(title, html_of(markdown))


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _parts(report: Report) -> Iterator[str]:
    cited = frozenset(number for source in report["sources"] for number in source["numbers"])
    sections = report["sections"]
    yield f"<h1>{html.escape(report['title'])}</h1>"
    yield f'<p class="dim">Research report, composed {report["making"]["composed"]}</p>'
    if partial := report["partial"]:
        missing = html.escape(missing_of(partial["missing"]))
        reason = html.escape(partial["reason"])
        yield f'<div class="partial"><strong>This report is partial:</strong> {reason}. Missing: {missing}.</div>'
    yield _contents(report)
    yield f'<h2 id="summary">Summary</h2>\n{html_of(report["summary"] or NOTHING_WRITTEN, sources=cited)}'
    yield from (_section(section, cited) for section in sections if not is_recommendations(section))
    if questions := report["open_questions"]:
        items = (html_of(f"{phases_of(question)}: {question['text']}", sources=cited) for question in questions)
        yield f'<h2 id="open">Open questions</h2>\n{_list(items)}'
    yield from (_section(section, cited) for section in sections if is_recommendations(section))
    yield f'<h2 id="sources">Sources</h2>\n{_sources(report["sources"])}'
    if report["gaps"]:
        yield f'<h2 id="gaps">What could not be had</h2>\n{_list(map(html.escape, report["gaps"]))}'
    yield f'<h2 id="making">How this report was made</h2>\n{_list(making_lines(report["making"], escape=html.escape))}'
    yield _usage(report["making"]["usage"])
    yield f"<footer><p>{html.escape(verification_line(report['verification']))}</p></footer>"


def _contents(report: Report) -> str:
    entries = [("summary", "Summary")]
    ordered = sorted(report["sections"], key=is_recommendations)
    entries += [(f"phase-{s['phase']}", f"{s['phase']}. {s['title']}") for s in ordered]
    entries += [("open", "Open questions")] if report["open_questions"] else []
    entries += [("sources", "Sources"), ("making", "How this report was made")]
    items = "".join(f'<li><a href="#{anchor}">{html.escape(title)}</a></li>' for anchor, title in entries)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _section(section: ReportSection, cited: frozenset[int]) -> str:
    marks = "".join(f'<p class="note">{html.escape(mark)}</p>\n' for mark in marks_of(section))
    title = html.escape(f"{section['phase']}. {section['title']}")
    return f'<h2 id="phase-{section["phase"]}">{title}</h2>\n{marks}{html_of(text_of(section), sources=cited)}'


def _sources(sources: Iterable[CitedSource]) -> str:
    items = "".join(f"<li>{_source(source)}</li>\n" for source in sources)
    return f'<ul class="sources">\n{items}</ul>' if items else f"<p>{NO_SOURCE}</p>"


def _source(source: CitedSource) -> str:
    numbers = "".join(f'<span id="source-{number}">[{number}]</span>' for number in source["numbers"])
    url, title = html.escape(source["url"]), html.escape(source["title"])
    if is_web(source["url"]):
        url = f'<a href="{url}" rel="noopener noreferrer nofollow">{url}</a>'
    described = " — ".join(part for part in (title if title != html.escape(source["url"]) else "", url) if part)
    return f"{numbers} {described}"


def _usage(usage: Breakdown) -> str:
    """Tokens by role, where there is more than one."""
    if len(usage["by_role"]) < 2:
        return ""
    rows = "".join(
        f'<tr><td>{html.escape(role)}</td><td class="number">{used["input_tokens"]:,}</td>'
        f'<td class="number">{used["output_tokens"]:,}</td></tr>'
        for role, used in usage["by_role"].items()
    )
    head = '<th>Role</th><th class="number">Tokens in</th><th class="number">Tokens out</th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>\n" for item in items) + "</ul>"
