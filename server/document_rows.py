"""The rows of uploaded documents; each function is for within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph.clock import iso
from server.owners import owned, public
from server.sql import Connection

MAX_DOCUMENTS: Final = 200


class DocumentsUnknown(Exception):
    """Documents were named that the key has not."""


class TooManyDocuments(Exception):
    """The key has as many documents as it may have."""


@dataclass(frozen=True)
class StoredDocument:
    """An uploaded document, without its content. `created_at` is Unix seconds, `digest` the content's SHA-256."""

    id: str
    owner: str
    name: str
    digest: str
    size_bytes: int
    created_at: float
    passages: int

    @property
    def record(self) -> dict[str, Any]:
        """As clients see it."""
        return {
            "document_id": public(self.id),
            "name": self.name,
            "size_bytes": self.size_bytes,
            "passages": self.passages,
            "created_at": iso(self.created_at),
        }


_COLUMNS: Final = ", ".join(StoredDocument.__dataclass_fields__)


def select_documents(connection: Connection, rest: str, *values: object) -> list[StoredDocument]:
    """The documents that `rest` of an SQL query names: its `WHERE`, its `ORDER BY`, with `?` for `values`."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM documents {rest}", values)  # noqa: S608
    return [StoredDocument(**dict(row)) for row in rows]


def of_ids(connection: Connection, ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Those of the documents that there are."""
    if not ids:
        return {}
    places = ", ".join("?" for _ in ids)
    return {found.id: found for found in select_documents(connection, f"WHERE id IN ({places})", *ids)}


def check_known(connection: Connection, owner: str, documents: Sequence[str]) -> None:
    """Raises `DocumentsUnknown` where `owner` has not all of them."""
    known = of_ids(connection, [owned(owner, document) for document in documents])
    if unknown := [document for document in documents if owned(owner, document) not in known]:
        raise DocumentsUnknown(f"no document of yours has the id {', '.join(unknown)}")


def same_document(connection: Connection, owner: str, name: str, digest: str) -> StoredDocument | None:
    """The document of that name and content."""
    found = select_documents(connection, "WHERE owner = ? AND name = ? AND digest = ?", owner, name, digest)
    return next(iter(found), None)


def check_document_room(connection: Connection, owner: str) -> None:
    """Raises `TooManyDocuments`."""
    row = connection.execute("SELECT count(*) FROM documents WHERE owner = ?", (owner,)).fetchone()
    if row[0] >= MAX_DOCUMENTS:
        raise TooManyDocuments(f"{MAX_DOCUMENTS} documents are kept already: delete one first.")


def insert_document(
    connection: Connection, document: StoredDocument, *, content: bytes, read_by: int, packed: bytes
) -> None:
    """Stores a document."""
    values = {**vars(document), "content": content, "read_by": read_by, "packed": packed}
    names, places = ", ".join(values), ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO documents ({names}) VALUES ({places})", list(values.values()))  # noqa: S608
