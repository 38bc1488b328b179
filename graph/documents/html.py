"""HTML into sections: the text a reader sees, without navigation, scripts and forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.documents.cleaning import cleaned
from graph.documents.document import Document
from graph.documents.errors import UnreadableError
from graph.documents.outline import Outline

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_UNSEEN = "script, style, noscript, template, nav, footer, aside, form, svg, iframe, dialog, [hidden]"
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_TAGS = """
    address article blockquote body caption dd details div dl dt figcaption figure header hr html
    li main ol p pre section summary table tbody tfoot thead tr ul
"""
_BLOCKS = frozenset(_HEADINGS) | frozenset(_BLOCK_TAGS.split())
_SPACED = frozenset(("br", "td", "th", "option"))
_TOO_MANY_UNDECODED = 0.005


def read_html(raw: bytes, stem: str) -> Document:
    """The sections of an HTML file, in the encoding it declares.

    Raises:
        UnreadableError: it cannot be parsed, or its bytes are not in that encoding.
    """
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    try:
        tree = LexborHTMLParser(raw, encoding=True)
    except (SelectolaxError, ValueError) as error:
        raise UnreadableError("it is not readable HTML") from error
    outline = Outline(_title(tree))
    if body := _body(tree):
        _Walk(outline).through(body)
    return outline.document(otherwise=stem)


def _title(tree: LexborHTMLParser) -> str:
    title = tree.css_first("title")
    return title.text() if title else ""


def _body(tree: LexborHTMLParser) -> LexborNode | None:
    for node in tree.css(_UNSEEN):
        node.decompose()
    body = tree.css_first("main") or tree.body
    text = body.text() if body else ""
    if text.count("\ufffd") > len(text) * _TOO_MANY_UNDECODED:
        raise UnreadableError("its encoding is not known")
    return body


class _Walk:
    """Goes through the text in document order; text of another block element than the last begins a new block."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._block: LexborNode | None = None
        self._text: list[str] = []

    def through(self, body: LexborNode) -> None:
        for node in body.traverse(include_text=True):
            if node.tag in _SPACED:
                self._text.append(" ")
            elif node.is_text_node:
                self._add(node)
        self._flush()

    def _add(self, node: LexborNode) -> None:
        block = _block_of(node)
        if self._block is None or block is None or block.mem_id != self._block.mem_id:
            self._flush()
            self._block = block
        self._text.append(node.text_content or "")

    def _flush(self) -> None:
        raw, self._text = cleaned("".join(self._text)), []
        tag = self._block.tag if self._block else None
        text = raw if tag == "pre" else " ".join(raw.split())
        if self._block is not None and tag in _HEADINGS:
            self._outline.heading(_HEADINGS[tag], text, self._block.id or "")
        else:
            self._outline.block(text)


def _block_of(node: LexborNode) -> LexborNode | None:
    block = node.parent
    while block is not None and block.tag not in _BLOCKS:
        block = block.parent
    return block
