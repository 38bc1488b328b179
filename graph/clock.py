"""Times as the protocol writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """Unix seconds as `2026-11-23T10:13:00.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def elapsed(began: float, ended: float) -> float:
    """Seconds from one Unix time to another, in milliseconds' precision; 0 where the clock was set back between."""
    return round(max(0.0, ended - began), 3)
