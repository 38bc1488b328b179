"""Mends text that a model streams in pieces of UTF-16: half a character at the end of one piece, half in the next."""

from __future__ import annotations


class SurrogateMender:
    """Joins halves over the borders of pieces; a half that stays alone becomes U+FFFD, as no event could hold it."""

    def __init__(self) -> None:
        self._half = ""

    def mended(self, piece: str) -> str:
        """The text of `piece`, with what was held back in front; a half at its end is held back.

        A NUL becomes U+FFFD too: PostgreSQL's text cannot hold it.
        """
        piece = piece.replace("\0", "\ufffd")
        if piece.isascii() and not self._half:
            return piece
        text, self._half = self._half + piece, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return _whole(text)

    def rest(self) -> str:
        """What is still held back, at the end of the text."""
        half, self._half = self._half, ""
        return _whole(half)


def _whole(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
