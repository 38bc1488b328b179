"""The report as HTML, DOCX: safe whatever stands in it, with working citations."""

from __future__ import annotations

import io
import re
import zipfile
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.report import Report, compose
from server.rendering import TAGS, html_of
from server.report_files import docx_of
from server.report_html import content_security_policy, html_of_markdown, html_report
from tests.unit.test_citations import entry, finding, report_of, source
from tests.unit.test_report import DONE

OURS = {"html", "head", "meta", "title", "style", "body", "main", "nav", "div", "span", "footer"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> [x](javascript:alert(1)) `<b>` &lt;"


class Reader(HTMLParser):
    """The tags of a document, and what their attributes say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def check(report: Report) -> str:
    html = html_report(report)
    read = Reader(html)
    assert set(read.tags) <= OURS | TAGS
    assert read.tags.count("style") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "style")]
    links = [value for name, value in read.attributes if name == "href"]
    assert all(link.startswith(("#", "http://", "https://", "mailto:")) for link in links)
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#source-")} <= set(ids)
    return html


def test_a_plain_report() -> None:
    html = check(compose(DONE))
    assert '<a href="#source-3"' in html
    assert '<span id="source-3">[3]</span>' in html
    assert '<h2 id="phase-1">1. Costs</h2>' in html


def test_whatever_was_asked_found_and_written_is_text() -> None:
    hostile = source(1, f"https://example.org/{HOSTILE}", HOSTILE)
    hostile["title"] = HOSTILE
    report = report_of(finding(f"{HOSTILE} [1]\n\n**Open:** {HOSTILE}"), sources=[entry(hostile)])
    check({**report, "title": HOSTILE, "gaps": [HOSTILE]})


@given(st.text(st.sampled_from("<>&\"'[]()#!`*_-|:/1a \n=;x"), max_size=200), st.text(max_size=30))
def test_any_text_of_a_model_is_safe(text: str, title: str) -> None:
    report = report_of(finding(text), sources=[entry(source(1))])
    check({**report, "title": title})


@pytest.mark.parametrize("text", ["`[1]`", "```\n[1]\n```", "[a [1] b](https://example.org/1)"])
def test_a_number_in_code_or_in_a_link_is_no_link_to_a_source(text: str) -> None:
    assert "#source-1" not in html_of(text, sources={1})


def test_only_known_numbers_are_links() -> None:
    assert re.findall(r"#source-\d+", html_of("a [1] b [2][1] c", sources={1})) == ["#source-1", "#source-1"]


def test_a_report_of_an_earlier_version_is_shown_from_its_markdown() -> None:
    html = html_of_markdown("<b>", "# Report\n\n<script>x</script>")
    assert "<title>&lt;b&gt;</title>" in html
    assert "<script" not in html


def test_the_policy_lets_nothing_run() -> None:
    policy = content_security_policy()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_docx_holds_the_report_and_no_markup() -> None:
    table = "| a | b |\n|---|---|\n| c |"
    text = f"### Head\n\n- **bold** item\n  1. inner `code`\n\n> quoted [1]\n\n{table}\n\n```\nx < y\n```"
    document = docx_of(report_of(finding(text), sources=[entry(source(1))]))
    xml = zipfile.ZipFile(io.BytesIO(document)).read("word/document.xml").decode()
    for words in ("Head", "bold", "inner ", "code", "quoted", "[1]", "x &lt; y"):
        assert words in xml
    assert "**" not in xml


@given(st.text(st.sampled_from("#>-*|` \n1.[]()a\x00\ud800~="), max_size=120))
def test_any_text_makes_a_docx(text: str) -> None:
    assert docx_of(report_of(finding(text), sources=[entry(source(1))])).startswith(b"PK")
