"""Reports as rows: sealed for their invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.sql import Connection

if TYPE_CHECKING:
    from server.invocation import Invocation


def insert_report(connection: Connection, invocation: Invocation, markdown: str, document: str | None) -> None:
    """Stores the report that a turn left: Markdown, and as JSON what that was made from."""
    columns = _sealed(connection, invocation, markdown, document)
    connection.execute("INSERT INTO reports (n, markdown, document) VALUES (?, ?, ?)", (invocation.n, *columns))
    connection.execute("UPDATE invocations SET has_report = 1 WHERE n = ?", (invocation.n,))


def report_of(connection: Connection, invocation: Invocation) -> tuple[str, str | None] | None:
    """The report as it was stored. Raises `StoredValueRefused`."""
    row = connection.execute("SELECT markdown, document FROM reports WHERE n = ?", (invocation.n,)).fetchone()
    if row is None:
        return None
    place, open_text = ("reports", invocation.n, invocation.id), connection.sealing.open_text
    return open_text(row[0], *place, "markdown"), None if row[1] is None else open_text(row[1], *place, "document")


def _sealed(
    connection: Connection, invocation: Invocation, markdown: str, document: str | None
) -> tuple[str, str | None]:
    place, seal_text = ("reports", invocation.n, invocation.id), connection.sealing.seal_text
    return seal_text(markdown, *place, "markdown"), None if document is None else seal_text(
        document, *place, "document"
    )
