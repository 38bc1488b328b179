"""Text made safe to store, to send as JSON and to show: no control characters, no lone surrogates."""

from __future__ import annotations

import re

# Han, kana and Hangul: scripts whose words the tokenizer of SQLite cannot tell apart.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"

_NEWLINES = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
_SPACES = re.compile("[\t\u00a0\u2000-\u200a\u202f\u205f\u3000]")
# C0 and C1 controls, lone surrogates, noncharacters, and marks that are invisible or turn the direction of text.
_UNWANTED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff\ud800-\udfff]"
)


def cleaned(text: str) -> str:
    """`text` with `\\n` as its only control character, and plain spaces."""
    return _UNWANTED.sub("", _SPACES.sub(" ", _NEWLINES.sub("\n", text)))


def one_line(text: str, limit: int = 200) -> str:
    """`text` as a single clean line of at most `limit` characters, for titles, names and logs."""
    line = " ".join(cleaned(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
