"""The fault points around a claim: which one it is, by its count, differs from database to database."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet


def around_claim(sqlite: int, postgres: int | None, sides: tuple[str, ...] = ("before", "after")) -> list[ParameterSet]:
    """`claim.before` and `claim.after`, as cases of a test.

    On SQLite a claim is made whenever one could be due, at the start already; on PostgreSQL only for a turn.
    """
    counts = [(sqlite, pytest.mark.backends("sqlite"))]
    if postgres is not None:
        counts.append((postgres, pytest.mark.backends("postgres")))
    return [pytest.param(f"claim.{side}:{count}", marks=mark) for count, mark in counts for side in sides]
