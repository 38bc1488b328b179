"""Each kind of file into sections, and sections into passages."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graph.documents.cleaning import cleaned
from graph.documents.document import Document, Section
from graph.documents.errors import UnreadableError
from graph.documents.passages import LONGEST, passages, words
from graph.documents.reading import read

# Written by hand: without a cross-reference table, which readers of PDF rebuild.
_PDF = b"""%%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R 5 0 R] /Count 2 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R
/Resources << /Font << /F 7 0 R >> >> >> endobj
4 0 obj << /Length %d >> stream
%s
endstream endobj
5 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 6 0 R
/Resources << /Font << /F 7 0 R >> >> >> endobj
6 0 obj << /Length %d >> stream
%s
endstream endobj
7 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> endobj
8 0 obj << /Title (Lease of the barn) >> endobj
trailer << /Size 9 /Root 1 0 R /Info 8 0 R %s >>
startxref
0
%%%%EOF
"""
_ENCRYPT = b"""/ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4
/O <0000000000000000000000000000000000000000000000000000000000000000>
/U <0000000000000000000000000000000000000000000000000000000000000000> >>"""


def pdf(first: str, second: str, trailer: bytes = b"") -> bytes:
    pages = [f"BT /F 12 Tf 72 720 Td ({text}) Tj ET".encode() if text else b"" for text in (first, second)]
    return _PDF % (len(pages[0]), pages[0], len(pages[1]), pages[1], trailer)


def outline(document: Document) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(section.place, section.anchor, section.blocks) for section in document.sections]


def test_markdown_has_headings_of_both_styles_and_keeps_code() -> None:
    text = """---
title: "Barns"
---
Opening with a [link](https://example.org "x") and **weight**.
<!-- a note to
self -->
## Walls ##
One line
and another.

```
# not a heading
x = 2**3 ** 4
```

Roof
----
- slate
- straw

## Walls
Again.
"""
    document = read(text.encode(), "b.md")
    assert document.title == "Barns"
    assert outline(document) == [
        ("", "", ("Opening with a link and weight.",)),
        ("Walls", "walls", ("One line and another.", "# not a heading\nx = 2**3 ** 4")),
        ("Roof", "roof", ("- slate\n- straw",)),
        ("Walls", "walls-1", ("Again.",)),
    ]


def test_first_heading_is_the_title_and_no_part_of_the_path() -> None:
    document = read(b"# Barns\n\nA.\n\n## Walls\n\n### Brick\n\nB.\n\n## Roof\n\nC.\n", "x.markdown")
    assert document.title == "Barns"
    assert [section.place for section in document.sections] == ["", "Walls › Brick", "Roof"]


def test_text_has_underlined_titles() -> None:
    document = read(
        b"=====\nBarns\n=====\n\n.. image:: x.png\n\nA barn.\n\nWalls\n-----\n\nOf brick\nor wood.\n", "b.rst"
    )
    assert document.title == "Barns"
    assert outline(document) == [("", "barns", ("A barn.",)), ("Walls", "walls", ("Of brick or wood.",))]


@pytest.mark.parametrize(
    ("text", "title"), [("About barns\n\nThey stand.", "About barns"), ("They stand.\n\nLong.", "my barns")]
)
def test_text_without_titles_is_named_by_its_first_line_or_its_file(text: str, title: str) -> None:
    assert read(text.encode(), "deep/my_barns.txt").title == title


def test_html_is_what_a_reader_sees() -> None:
    page = b"""<html><head><title>Barns &amp; sheds</title><style>p {}</style></head><body><nav>Menu</nav>
    <p>A <b>b</b>arn<br>stands.</p><div>Loose <p>tight</p> end</div><h2 id="w">Walls <i>here</i></h2>
    <table><tr><td>brick</td><td>red</td></tr></table><script>alert(1)</script><pre>a
  b</pre></body></html>"""
    document = read(page, "b.html")
    assert document.title == "Barns & sheds"
    assert outline(document) == [
        ("", "", ("A barn stands.", "Loose", "tight", "end")),
        ("Walls here", "w", ("brick red", "a\n  b")),
    ]


def test_html_is_read_in_the_encoding_it_declares() -> None:
    page = "<meta charset=windows-1252><title>x</title><p>Caf\u00e9 \u2013 na\u00efve</p>"
    assert read(page.encode("cp1252"), "b.htm").sections[0].blocks == ("Café – naïve",)


def test_pdf_has_a_section_a_page() -> None:
    document = read(pdf("The barn is let.", "The rent is due."), "lease.pdf")
    assert document.title == "Lease of the barn"
    assert outline(document) == [
        ("page 1", "page=1", ("The barn is let.",)),
        ("page 2", "page=2", ("The rent is due.",)),
    ]
    assert [passage.full_title for passage in passages(document)] == [
        "Lease of the barn, page 1",
        "Lease of the barn, page 2",
    ]


def test_utf16_text_is_known_by_its_mark() -> None:
    assert read("Scheune für Heu".encode("utf-16"), "b.txt").sections[0].blocks == ("Scheune für Heu",)


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("scan.pdf", pdf("", ""), "it has no text, only pictures of pages"),
        ("secret.pdf", pdf("Hidden.", "Too.", _ENCRYPT), "it is encrypted"),
        ("broken.pdf", b"%PDF-1.4\nnothing", "it is not a readable PDF"),
        ("none.pdf", b"", "it is not a readable PDF"),
        ("latin.txt", "Café".encode("latin-1"), "it is not UTF-8 text"),
        ("odd.md", "x".encode("utf-16") + b"\x00", "it is not UTF-8 text"),
        ("latin.html", b"<p>" + "Café".encode("latin-1"), "its encoding is not known"),
        ("empty.md", b"", "it has no text"),
        ("nul.txt", b"\x00\x00\n\x00", "it has no text"),
        ("empty.html", b"<script>1</script>", "it has no text"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=f"^{reason}$"):
        read(raw, name)


def test_cleaned_text_is_safe_to_store_and_to_show() -> None:
    dirty = "a\x00b\ud800c\u202ed\r\ne\x1b[31m\u2028f\u00a0g\ufeff\x85h"
    assert cleaned(dirty) == "abcd\ne[31m\nf g\nh"


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_cleans_into_what_utf8_and_json_can_hold(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert not [char for char in once.encode().decode() if ord(char) < 32 and char != "\n"]


def paragraph(count: int, name: str) -> str:
    return " ".join(f"{name}{number}" for number in range(count - 1)) + " end."


def lengths(*sections: Section) -> list[tuple[str, int]]:
    return [(passage.place, words(passage.text)) for passage in passages(Document("T", sections))]


def test_paragraphs_are_put_together_up_to_the_length_of_a_passage() -> None:
    blocks = tuple(paragraph(50, name) for name in "abcdefg")
    assert lengths(Section((), "", blocks)) == [("", 150), ("", 200)]


def test_long_paragraphs_are_cut_at_sentences() -> None:
    block = " ".join(paragraph(30, name) for name in "abcdefghij")
    found = list(passages(Document("T", (Section((), "", (block,)),))))
    assert [words(passage.text) for passage in found] == [150, 150]
    assert all(passage.text.endswith("end.") for passage in found)


def test_text_without_spaces_is_cut_as_well() -> None:
    found = lengths(Section((), "", ("x" * 40 * 1000,)), Section(("Z",), "z", ("数" * 1000,)))
    assert len(found) > 10
    assert max(length for _, length in found) <= LONGEST


def test_short_neighbours_share_a_passage_and_pages_do_not() -> None:
    short = [Section((name,), name, (paragraph(40, name),)) for name in "ab"]
    long = Section(("c",), "c", (paragraph(100, "c"),))
    assert lengths(*short, long) == [("a", 81), ("c", 100)]  # with the heading of b
    pages = [Section((), f"page={number}", (paragraph(10, "p"),), page=number) for number in (1, 2)]
    assert lengths(*pages) == [("page 1", 10), ("page 2", 10)]


# Repeated, because short texts are never cut.
@given(st.lists(st.builds(str.__mul__, st.text(max_size=20), st.integers(1, 400)), max_size=4))
@example(["word " * 200 + "end. \n"])
def test_no_word_is_lost_in_cutting(blocks: list[str]) -> None:
    found = passages(Document("T", (Section((), "", tuple(blocks)),)))
    joined = "".join("".join(passage.text.split()) for passage in found)
    assert joined == "".join("".join(block.split()) for block in blocks)
