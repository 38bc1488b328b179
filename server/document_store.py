"""Uploaded documents: read once, kept with their passages, handed to the graph's search as its library."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from graph.documents.apart import ApartReader
from graph.documents.errors import UnreadableError
from server.database import Database
from server.document_rows import (
    StoredDocument,
    check_document_room,
    document_content,
    document_passages,
    insert_document,
    of_ids,
    replace_passages,
    same_document,
    select_documents,
)
from server.owners import owned, public
from server.sealing import PLAIN, Sealing
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

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], float],
        sealing: Sealing = PLAIN,
        reader: ApartReader | None = None,
    ) -> None:
        self._database = database
        self._sealing = sealing
        # With a key, no passage may come to a disk in the open.
        self.in_memory = bool(sealing.fingerprints)
        self._now = now
        self._reader = reader or ApartReader()

    async def add(self, owner: str, name: str, content: bytes) -> tuple[StoredDocument, bool]:
        """The document of that name and content, and whether it is new.

        Raises `UnreadableError`, `TooManyDocuments`.
        """
        digests = await asyncio.to_thread(self._sealing.digests, b"\0".join((name.encode(), content)))

        def known(connection: Connection) -> StoredDocument | None:
            found = same_document(connection, owner, digests)
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
            size_bytes=len(content),
            created_at=self._now(),
            passages=read.passages,
        )

        def store(connection: Connection) -> tuple[StoredDocument, bool]:
            # Asked again: the same upload may have come twice meanwhile, on another host too.
            if (found := known(connection)) is not None:
                return found, False
            insert_document(connection, new, digest=digests[0], content=content, read_by=READ_BY, packed=read.content)
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
        why = {id: "it cannot be decrypted" if id in found else "it was deleted" for id in ids}
        kept = [Kept(id, f"{public(id)}/{one.name}") for id in ids if (one := found.get(id)) and one.name is not None]
        return kept, [Skipped(public(id), why[id]) for id in ids if id not in {one.id for one in kept}]

    async def passages(self, document_id: str) -> Iterable[Passage]:
        """The passages of a document; none where it has gone meanwhile. Raises `StoredValueRefused`."""
        from graph.documents.packing import unpacked

        query = "SELECT read_by FROM documents WHERE id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (document_id,)).fetchone())
        if row is not None and row[0] < READ_BY:
            await self._read_again(document_id)
        packed = await self._database.read(partial(document_passages, id=document_id))
        return () if packed is None else unpacked(packed)

    async def _read_again(self, document_id: str) -> None:
        """Reads a document as the present version does; where that cannot, it stays as it was read."""
        document = await self.get(document_id)
        content = await self._database.read(partial(document_content, id=document_id))
        if document is None or document.name is None or content is None:
            return
        try:
            read = await self._reader.read(content, document.name)
        except UnreadableError:
            return
        store = partial(replace_passages, id=document_id, read_by=READ_BY, passages=read.passages, packed=read.content)
        await self._database.write(store, name="document")


def _lock(owner: str) -> str:
    """What writes of one owner's documents wait for on a shared database; no thread has that name."""
    return f"{owner}/documents/"
