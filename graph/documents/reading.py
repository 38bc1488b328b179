"""One file into a document, by its kind."""

from __future__ import annotations

import codecs
from pathlib import PurePath

from graph.documents.cleaning import cleaned, one_line
from graph.documents.document import Document
from graph.documents.errors import UnreadableError
from graph.documents.html import read_html
from graph.documents.markdown import read_markdown
from graph.documents.pdf import read_pdf
from graph.documents.plaintext import read_plaintext

MARKDOWN = frozenset((".md", ".markdown"))
PLAINTEXT = frozenset((".txt", ".rst"))
HTML = frozenset((".html", ".htm"))
PDF = frozenset((".pdf",))
KINDS = MARKDOWN | PLAINTEXT | HTML | PDF


def read(raw: bytes, name: str) -> Document:
    """The document in `raw`, whose file name decides how it is read. Its suffix must be one of `KINDS`.

    Raises:
        UnreadableError: it cannot be decoded or parsed, or has no text.
    """
    suffix, stem = PurePath(name).suffix.lower(), one_line(PurePath(name).stem.replace("_", " "))
    if suffix in PDF:
        return read_pdf(raw, stem)
    if suffix in HTML:
        document = read_html(raw, stem)
    else:
        reader = read_markdown if suffix in MARKDOWN else read_plaintext
        document = reader(cleaned(_decoded(raw)), stem)
    if not document.sections:
        raise UnreadableError("it has no text")
    return document


def _decoded(raw: bytes) -> str:
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("it is not UTF-8 text") from error
