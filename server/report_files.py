"""A report as PDF or DOCX, by packages that are an extra (`documents`). Both block: call them in a thread."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from graph.report.markdown import markdown_of
from server.rendering import parsed
from server.report_html import html_report

if TYPE_CHECKING:
    from docx.document import Document
    from docx.text.paragraph import Paragraph
    from markdown_it.token import Token

    from graph.report import Report

PACKAGES: Final = {"pdf": ("weasyprint", "WeasyPrint"), "docx": ("docx", "python-docx")}


class FormatMissing(Exception):
    """The package that writes a format is not installed; the message names it."""


def check_format(kind: str) -> None:
    """Raises `FormatMissing` where `kind`, `pdf` or `docx`, cannot be written here."""
    module, package = PACKAGES[kind]
    if importlib.util.find_spec(module) is None:
        raise FormatMissing(f"{kind.upper()} needs the package {package}: pip install {package.lower()}")


def pdf_of(report: Report) -> bytes:
    """The report as PDF, with its outline and working citations. Raises `FormatMissing`."""
    check_format("pdf")
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    try:
        # Pango is loaded when the package is.
        from weasyprint import HTML  # type: ignore[import-untyped]  # it has none
    except OSError as error:
        raise FormatMissing("PDF needs the library Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0") from error
    pdf: bytes = HTML(string=html_report(report), url_fetcher=_fetch_nothing).write_pdf()
    return pdf


def docx_of(report: Report) -> bytes:
    """The report as DOCX. Raises `FormatMissing`."""
    check_format("docx")
    from docx import Document

    document = Document()
    document.core_properties.title = report["title"]
    document.core_properties.author = ""
    _Writer(document).write(parsed(markdown_of(report)))
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def _fetch_nothing(url: str, *_: object, **__: object) -> dict[str, Any]:
    raise ValueError("a report loads nothing")


class _Writer:
    """Markdown's tokens as paragraphs of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._lists: list[str] = []
        self._quoted = 0

    def write(self, tokens: Sequence[Token]) -> None:
        heading = 0
        for at, token in enumerate(tokens):
            if token.type == "heading_open":
                heading = int(token.tag[1])
            elif token.type == "heading_close":
                heading = 0
            elif token.type in ("bullet_list_open", "ordered_list_open"):
                self._lists.append("List Bullet" if token.type.startswith("bullet") else "List Number")
            elif token.type in ("bullet_list_close", "ordered_list_close"):
                self._lists.pop()
            elif token.type in ("blockquote_open", "blockquote_close"):
                self._quoted += token.nesting
            elif token.type in ("fence", "code_block"):
                self._code(token.content)
            elif token.type == "table_open":
                self._table(tokens[at:])
            elif token.type == "inline" and not _in_table(tokens, at):
                _runs(self._paragraph(heading), token.children or [])

    def _paragraph(self, heading: int) -> Paragraph:
        if heading:
            titled: Paragraph = self._document.add_heading("", level=heading - 1)
            return titled
        if self._lists:
            depth = min(len(self._lists), 3)
            return self._document.add_paragraph(style=self._lists[-1] + (f" {depth}" if depth > 1 else ""))
        return self._document.add_paragraph(style="Quote" if self._quoted else None)

    def _code(self, text: str) -> None:
        self._document.add_paragraph().add_run(text.rstrip("\n")).font.name = "Courier New"

    def _table(self, tokens: Sequence[Token]) -> None:
        rows = list(_rows(tokens))
        width = max(map(len, rows))
        table = self._document.add_table(rows=len(rows), cols=width, style="Table Grid")
        for row, cells in zip(table.rows, rows, strict=True):
            for cell, inline in zip(row.cells, cells, strict=False):
                _runs(cell.paragraphs[0], inline.children or [])


def _in_table(tokens: Sequence[Token], at: int) -> bool:
    return tokens[at - 1].type in ("th_open", "td_open")


def _rows(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    row: list[Token] = []
    for at, token in enumerate(tokens):
        if token.type == "table_close":
            return
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            yield row
        elif token.type == "inline" and _in_table(tokens, at):
            row.append(token)


def _runs(paragraph: Paragraph, children: Sequence[Token]) -> None:
    bold = italic = 0
    for child in children:
        if child.type in ("strong_open", "strong_close"):
            bold += child.nesting
        elif child.type in ("em_open", "em_close"):
            italic += child.nesting
        text = "\n" if child.type == "hardbreak" else " " if child.type == "softbreak" else child.content
        if text:
            run = paragraph.add_run(text)
            run.bold, run.italic = bold > 0 or None, italic > 0 or None
            if child.type == "code_inline":
                run.font.name = "Courier New"
