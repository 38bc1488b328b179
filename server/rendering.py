"""Markdown as HTML that a browser may be shown: what a model or a document wrote is text, never markup of ours."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Final

from server.citation_links import cite

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# fmt: off
TAGS: Final = frozenset({
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
})
# fmt: on
SCHEMES: Final = frozenset({"http", "https", "mailto"})


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # `html` off: tags in the text stay text. Images are links at most: a page must not load what a model names.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    # The first use compiles its rules, which two threads must not do at once.
    parser.render("")
    return parser


def parsed(markdown: str) -> list[Token]:
    """`markdown` as the parser's tokens: text, links and structure, no HTML."""
    return _parser().parse(markdown)


def html_of(markdown: str, *, sources: Collection[int] = ()) -> str:
    """`markdown` as a fragment of HTML without scripts, styles, images or foreign attributes.

    Links are kept where they lead to `http`, `https`, `mailto` or within the page; citations of `sources` become links
    to `#source-<number>`. Sanitized a second time behind the parser, so that neither alone has to be right.
    """
    import nh3

    tokens = parsed(markdown)
    if sources:
        cite(tokens, sources)
    return nh3.clean(
        _parser().renderer.render(tokens, _parser().options, {}),
        tags=set(TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}, "th": {"align"}, "td": {"align"}},
        url_schemes=set(SCHEMES),
        link_rel="noopener noreferrer nofollow",
    )
