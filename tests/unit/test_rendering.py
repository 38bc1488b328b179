"""What a browser is shown of Markdown that may be hostile."""

from __future__ import annotations

import pytest
from selectolax.lexbor import LexborHTMLParser

from server.rendering import TAGS, html_of

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](javascript:alert(1))",
    "![x](http://tracker.example/pixel.png)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "<svg/onload=alert(1)>",
    '[x](http://a.example "onmouseover=alert(1)")',
    "<style>body{display:none}</style>",
    "<iframe src='http://a.example'></iframe>",
    "`<script>alert(1)</script>`",
    "```html\n<script>alert(1)</script>\n```",
    "<a href='javascript:alert(1)' onclick=alert(1)>x</a>",
    "| a |\n|---|\n| <script>alert(1)</script> |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[x]: javascript:alert(1)\n\n[x]",
    "<!--><script>alert(1)</script>-->",
]


@pytest.mark.parametrize("markdown", HOSTILE)
def test_nothing_in_the_text_becomes_markup(markdown: str) -> None:
    tree = LexborHTMLParser(f"<body>{html_of(markdown)}</body>")
    for node in tree.css("body *"):
        assert node.tag in TAGS
        assert set(node.attributes) <= {"href", "title", "rel", "start", "align"}
        href = node.attributes.get("href") or ""
        assert not href or href.startswith(("http://", "https://", "mailto:", "#", "/")), href


def test_headings_lists_tables_and_links_are_shown() -> None:
    html = html_of("# Title\n\n- one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[s](https://a.example) ~~gone~~")
    for piece in ("<h1>Title</h1>", "<li>one</li>", "<td>1</td>", 'href="https://a.example"', "<s>gone</s>"):
        assert piece in html
