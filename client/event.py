"""An event as it came, and reading it without trusting it: a field may be missing or of another type."""

from __future__ import annotations

from typing import Any, TypeAlias

# Any: a JSON object of a server that may be newer than this client.
Event: TypeAlias = dict[str, Any]

_LARGEST = 10**15


def number(event: Event, name: str) -> float:
    """The field as a number; 0 where it is none. The comparison also refuses NaN, infinity and huge integers."""
    value = event.get(name)
    return value if isinstance(value, int | float) and -_LARGEST < value < _LARGEST else 0


def whole(event: Event, name: str) -> int:
    return int(number(event, name))


def part(event: Event, name: str) -> Event:
    """The field as an object; an empty one where it is none."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def text(event: Event, name: str) -> str:
    """The field as text that is safe on a terminal."""
    value = event.get(name)
    return "" if value is None else printable(str(value))


def printable(value: str) -> str:
    """One line without control characters: no escape codes, no bidirectional overrides, no lone surrogates."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
