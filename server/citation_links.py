"""Citations in parsed Markdown as links to the list of sources. Code and links are left as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markdown_it.token import Token

_CITATION: Final = re.compile(r"\[(\d{1,9})\]")


def cite(tokens: Sequence[Token], sources: Collection[int]) -> None:
    """Makes each `[n]` whose number is in `sources` a link to `#source-n`, in place."""
    for token in tokens:
        if token.type == "inline" and token.children:
            token.children = list(_cited(token.children, sources))


def _cited(children: Sequence[Token], sources: Collection[int]) -> Iterator[Token]:
    depth = 0
    for child in children:
        depth += {"link_open": 1, "link_close": -1}.get(child.type, 0)
        if child.type == "text" and depth == 0:
            yield from _pieces(child, sources)
        else:
            yield child


def _pieces(text: Token, sources: Collection[int]) -> Iterator[Token]:
    at = 0
    for found in _CITATION.finditer(text.content):
        if int(found[1]) in sources:
            yield _text(text, text.content[at : found.start()])
            yield text.copy(
                type="link_open", tag="a", nesting=1, content="", attrs={"href": f"#source-{int(found[1])}"}
            )
            yield _text(text, found[0])
            yield text.copy(type="link_close", tag="a", nesting=-1, content="", attrs={})
            at = found.end()
    yield _text(text, text.content[at:])


def _text(like: Token, content: str) -> Token:
    return like.copy(content=content)
