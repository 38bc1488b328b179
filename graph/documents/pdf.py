"""PDF into sections, one a page, so that a passage can be cited by its page."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

from graph.documents.cleaning import cleaned, one_line
from graph.documents.document import Document, Section
from graph.documents.errors import UnreadableError

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

_HYPHENATED = re.compile(r"(?<=\w)-\n(?=[a-z])")
_BLANK_LINES = re.compile(r"\n\s*\n")


def read_pdf(raw: bytes, stem: str) -> Document:
    """The pages of a PDF that have text.

    Raises:
        UnreadableError: it is encrypted, damaged, or has no text (a scan).
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    # Its warnings quote from the file, and what stands in documents must not get into logs.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(raw))
        sections = tuple(_sections(reader))
    except (DependencyError, FileNotDecryptedError) as error:
        raise UnreadableError("it is encrypted") from error
    # A damaged PDF makes pypdf raise nearly anything: KeyError, RecursionError, struct.error, zlib.error …
    except Exception as error:
        raise UnreadableError("it is not a readable PDF") from error
    if not sections:
        raise UnreadableError("it has no text, only pictures of pages")
    return Document(_title(reader) or stem, sections)


def _sections(reader: PdfReader) -> list[Section]:
    pages = ((number, _blocks(page)) for number, page in enumerate(reader.pages, start=1))
    return [Section((), f"page={number}", blocks, page=number) for number, blocks in pages if blocks]


def _blocks(page: PageObject) -> tuple[str, ...]:
    text = _HYPHENATED.sub("", cleaned(_text(page)))
    paragraphs = (" ".join(paragraph.split()) for paragraph in _BLANK_LINES.split(text))
    return tuple(paragraph for paragraph in paragraphs if paragraph)


def _text(page: PageObject) -> str:
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        return page.extract_text()
    except (DependencyError, FileNotDecryptedError):
        raise
    except Exception:  # noqa: BLE001 - one damaged page, whatever it raises, must not cost the others
        return ""


def _title(reader: PdfReader) -> str:
    try:
        return one_line(str((reader.metadata and reader.metadata.title) or ""))
    except Exception:  # noqa: BLE001 - a damaged title is no loss: the name of the file serves
        return ""
