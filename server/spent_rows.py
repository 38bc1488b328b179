"""What turns cost, as rows by phase, role and model; the invocation's own columns hold their sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graph.events import Event
from graph.usage import Spent, total
from server.sql import Connection


def spent_told(event: Event) -> Iterator[Spent]:
    """What an event tells was spent: a subcall's end, or searches that a model made."""
    if event["type"] == "subcall_end":
        usage = event["usage"]
        yield Spent(
            phase=event["phase"],
            role=event.get("role", ""),
            model=event.get("model", ""),
            calls=1,
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
        )
    elif event["type"] == "sources":
        yield from event.get("spent", [])


def add_spent(connection: Connection, n: int, row: Spent) -> None:
    """Adds a row to what invocation `n` cost, and to its sum."""
    connection.execute(
        "INSERT INTO spent (n, phase, role, model, calls, input_tokens, output_tokens) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (n, phase, role, model) DO UPDATE SET calls = spent.calls + excluded.calls,"
        " input_tokens = spent.input_tokens + excluded.input_tokens,"
        " output_tokens = spent.output_tokens + excluded.output_tokens",
        (n, *_values(row)),
    )
    connection.execute(
        "UPDATE invocations SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ? WHERE n = ?",
        (row["input_tokens"], row["output_tokens"], n),
    )


def replace_spent(connection: Connection, n: int, rows: Sequence[Spent]) -> None:
    """Puts `rows` in place of what is known of invocation `n`."""
    connection.execute("DELETE FROM spent WHERE n = ?", (n,))
    for row in rows:
        connection.execute(
            "INSERT INTO spent (n, phase, role, model, calls, input_tokens, output_tokens)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (n, *_values(row)),
        )
    usage = total(rows)
    connection.execute(
        "UPDATE invocations SET input_tokens = ?, output_tokens = ? WHERE n = ?",
        (usage["input_tokens"], usage["output_tokens"], n),
    )


def spent_of(connection: Connection, n: int) -> list[Spent]:
    """What invocation `n` cost, by phase, then by role and model."""
    rows = connection.execute(
        "SELECT phase, role, model, calls, input_tokens, output_tokens FROM spent WHERE n = ?"
        " ORDER BY phase, role, model",
        (n,),
    )
    return [
        Spent(
            phase=row["phase"],
            role=row["role"],
            model=row["model"],
            calls=row["calls"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
        )
        for row in rows
    ]


def _values(row: Spent) -> tuple[int, str, str, int, int, int]:
    return row["phase"], row["role"], row["model"], row["calls"], row["input_tokens"], row["output_tokens"]
