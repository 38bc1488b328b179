"""The reports that turns left, and what the turns cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from server.database import Database
from server.spent_rows import spent_of
from server.sql import Connection

if TYPE_CHECKING:
    from graph.report import Report
    from graph.usage import Spent
    from server.invocation import Invocation


@dataclass(frozen=True)
class StoredReport:
    """A report as Markdown, and what that was made from; None for one that an earlier version wrote."""

    markdown: str
    document: Report | None


class ReportStore:
    """Reports in the server's database. Every method raises `StorageFailed` where the disk does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, invocation: Invocation) -> StoredReport | None:
        """The report that an ended turn left."""

        def read(connection: Connection) -> StoredReport | None:
            row = connection.execute("SELECT markdown, document FROM reports WHERE n = ?", (invocation.n,)).fetchone()
            return None if row is None else StoredReport(row[0], orjson.loads(row[1]) if row[1] else None)

        return await self._database.read(read)

    async def spent(self, invocation: Invocation) -> list[Spent]:
        """What a turn has cost so far, by phase, role and model."""
        return await self._database.read(lambda connection: spent_of(connection, invocation.n))
