"""Uploaded documents: read once, kept with their passages, handed to the graph's search as its library."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from graph.documents.apart import ApartReader, ReadDocument
from graph.documents.errors import UnreadableError
from server.database import Database
from server.document_rows import (
    StoredDocument,
    check_document_room,
    insert_document,
    of_ids,
    same_document,
    select_documents,
)
from server.owners import owned, public
from server.sql import Connection

if TYPE_CHECKING:
    from graph.documents.document import Passage, Skipped
    from graph.documents.library import Kept

# Of how documents are read and cut: one that an earlier version read is read again when it is next searched.
READ_BY: Final = 1


class DocumentStore:
    """Documents in the server's database. Every method raises `StorageFailed` where the disk does.

    It is a `graph.documents.library.Library` as well; there and in `delete` an id is the server's own.
    """

    def __init__(self, database: Database, *, now: Callable[[], float], reader: ApartReader | None = None) -> None:
        self._database = database
        self._now = now
        self._reader = reader or ApartReader()
        # How many uploads each owner has under way, here.
        self.under_way: Counter[str] = Counter()

    async def add(self, owner: str, name: str, content: bytes) -> tuple[StoredDocument, bool]:
        """The document of that name and content, and whether it is new.

        Raises `UnreadableError`, `TooManyDocuments`.
        """
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())

        def known(connection: Connection) -> StoredDocument | None:
            found = same_document(connection, owner, name, digest)
            if found is None:
                check_document_room(connection, owner)
            return found

        if (found := await self._database.read(known)) is not None:
            return found, False
        read = await self._reader.read(content, name)
        new = StoredDocument(
            id=owned(owner, f"doc_{secrets.token_hex(16)}"),
            owner=owner,
            name=name,
            digest=digest,
            size_bytes=len(content),
            created_at=self._now(),
            passages=read.passages,
        )

        def store(connection: Connection) -> tuple[StoredDocument, bool]:
            # Asked again: the same upload may have come twice meanwhile, on another host too.
            if (found := known(connection)) is not None:
                return found, False
            insert_document(connection, new, content=content, read_by=READ_BY, packed=read.content)
            return new, True

        return await self._database.write(store, name="document", thread=_lock(owner))

    async def page(self, owner: str) -> list[StoredDocument]:
        """All documents of `owner`, newest first."""
        return await self._database.read(
            lambda connection: select_documents(connection, "WHERE owner = ? ORDER BY n DESC", owner)
        )

    async def get(self, document_id: str) -> StoredDocument | None:
        """The document of that id."""
        found = await self._database.read(lambda connection: of_ids(connection, [document_id]))
        return found.get(document_id)

    async def delete(self, document_id: str) -> bool:
        """Deletes a document; whether there was one. Runs that search it go on without it."""
        query = "DELETE FROM documents WHERE id = ?"
        deleted = await self._database.write(
            lambda connection: connection.execute(query, (document_id,)).rowcount, name="document"
        )
        if deleted:
            await self._database.give_space_back()
        return deleted > 0

    async def find(self, ids: Sequence[str]) -> tuple[list[Kept], list[Skipped]]:
        """Those of the documents that are there, and the rest with the reason why they are not."""
        from graph.documents.document import Skipped
        from graph.documents.library import Kept

        found = await self._database.read(lambda connection: of_ids(connection, ids))
        # With its id, so that it is told from others of its name.
        kept = [Kept(id, f"{public(id)}/{found[id].name}") for id in ids if id in found]
        return kept, [Skipped(public(id), "it was deleted") for id in ids if id not in found]

    async def passages(self, document_id: str) -> Iterable[Passage]:
        """The passages of a document; none where it has gone meanwhile."""
        from graph.documents.packing import unpacked

        query = "SELECT name, read_by, packed FROM documents WHERE id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (document_id,)).fetchone())
        if row is None:
            return ()
        if row["read_by"] < READ_BY and (again := await self._read_again(document_id, row["name"])) is not None:
            return unpacked(again.content)
        return unpacked(bytes(row["packed"]))

    async def _read_again(self, document_id: str, name: str) -> ReadDocument | None:
        """The document as the present version reads it; None where it does so no longer."""
        query = "SELECT content FROM documents WHERE id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (document_id,)).fetchone())
        if row is None:
            return None
        try:
            read = await self._reader.read(bytes(row["content"]), name)
        except UnreadableError:
            return None
        await self._database.write(partial(_replace, document_id=document_id, read=read), name="document")
        return read


def _replace(connection: Connection, *, document_id: str, read: ReadDocument) -> None:
    query = "UPDATE documents SET read_by = ?, passages = ?, packed = ? WHERE id = ?"
    connection.execute(query, (READ_BY, read.passages, read.content, document_id))


def _lock(owner: str) -> str:
    """What writes of one owner's documents wait for on a shared database; no thread has that name."""
    return f"{owner}/documents/"
