"""Reading a JSON object without trusting it: a field may be missing or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

Fields: TypeAlias = Mapping[str, object]

_LARGEST = 10**15


def number(fields: Fields, name: str) -> float:
    """The field as a number; 0 where it is none. The comparison also refuses NaN, infinity and huge integers."""
    value = fields.get(name)
    return value if isinstance(value, int | float) and -_LARGEST < value < _LARGEST else 0


def whole(fields: Fields, name: str) -> int:
    return int(number(fields, name))


def part(fields: Fields, name: str) -> Fields:
    """The field as an object; an empty one where it is none."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def parts(fields: Fields, name: str) -> list[Fields]:
    """The objects in the field's list."""
    value = fields.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def raw(fields: Fields, name: str) -> str:
    """The field's text as it came; empty where it is none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def text(fields: Fields, name: str) -> str:
    """The field as text that is safe on a terminal."""
    value = fields.get(name)
    return "" if value is None else printable(str(value))


def moment(fields: Fields, name: str) -> datetime | None:
    """The field as a time with its zone; None where it is none."""
    try:
        value = datetime.fromisoformat(raw(fields, name))
    except ValueError:
        return None
    return value if value.tzinfo else None


def printable(value: str) -> str:
    """One line without control characters: no escape codes, no bidirectional overrides, no lone surrogates."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
