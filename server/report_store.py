"""The reports that turns left, and what the turns cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from server.database import Database
from server.report_rows import report_of
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
    """Reports in the server's database. Every method raises `StorageFailed` where the disk does.

    `of` raises `StoredValueRefused` as well.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, invocation: Invocation) -> StoredReport | None:
        """The report that an ended turn left."""

        def read(connection: Connection) -> StoredReport | None:
            found = report_of(connection, invocation)
            return None if found is None else StoredReport(found[0], orjson.loads(found[1]) if found[1] else None)

        return await self._database.read(read)

    async def spent(self, invocation: Invocation) -> list[Spent]:
        """What a turn has cost so far, by phase, role and model."""
        return await self._database.read(lambda connection: spent_of(connection, invocation.n))
