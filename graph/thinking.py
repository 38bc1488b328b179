"""What reasoning models think aloud, kept out of their answers."""

from __future__ import annotations

import re
from typing import Final

_TAGS: Final = {"<think>": "</think>", "<thinking>": "</thinking>"}
_LONGEST: Final = max(map(len, _TAGS.values()))
# Without its beginning; on a line of its own, so that a text may speak of the tag.
_END_ALONE: Final = re.compile(r"\A(?:(?!<think).)*?^</think(?:ing)?>[ \t]*$\s*", re.DOTALL | re.MULTILINE)


class ThinkingFilter:
    """Takes the thinking off the front of a text that comes in pieces; what is behind it is passed on as it comes.

    Only what stands before any other text is thinking: a later `<think>` is part of the answer.
    """

    def __init__(self) -> None:
        self._held = ""
        self._end = ""
        self._thought = False
        self._answering = False

    def answer(self, piece: str) -> str:
        """What of the text so far belongs to the answer, and was not passed on yet."""
        if self._answering:
            return piece
        self._held += piece
        if not self._end and not self._begins_thought():
            return self._held_back()
        if not self._end:
            return ""
        _, found, behind = self._held.partition(self._end)
        if found:
            self._held, self._end, self._thought = behind, "", True
            return self._held_back()
        # Of a thought only as much is kept as may be the beginning of its end.
        self._held = self._held[-_LONGEST:]
        return ""

    def rest(self) -> str:
        """What is still held back in case a thought began with it, at the end of the text."""
        return "" if self._end else self._held_back()

    def _begins_thought(self) -> bool:
        """Whether the text begins with a thought, or may still turn out to."""
        begun = self._held.lstrip()
        for opening, end in _TAGS.items():
            if begun.startswith(opening):
                self._end = end
        return bool(self._end) or not begun or any(opening.startswith(begun) for opening in _TAGS)

    def _held_back(self) -> str:
        held, self._held = self._held.lstrip() if self._thought else self._held, ""
        self._answering = self._answering or bool(held)
        return held


def without_thinking(text: str) -> str:
    """`text` without a thought before it whose end alone was sent, as some endpoints do."""
    return _END_ALONE.sub("", text)
