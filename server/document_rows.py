"""The rows of uploaded documents; each function is for within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph.clock import iso
from server.owners import owned, public
from server.sealing import Sealing, StoredValueRefused
from server.sql import Connection, Row

MAX_DOCUMENTS: Final = 200
UNREADABLE: Final = "(cannot be decrypted)"


class DocumentsUnknown(Exception):
    """Documents were named that the key has not."""


class TooManyDocuments(Exception):
    """The key has as many documents as it may have."""


@dataclass(frozen=True)
class StoredDocument:
    """An uploaded document, without its content. `created_at` is Unix seconds.

    `name` is None where it cannot be read (docs/encryption.md).
    """

    id: str
    owner: str
    name: str | None
    size_bytes: int
    created_at: float
    passages: int

    @property
    def record(self) -> dict[str, Any]:
        """As clients see it."""
        return {
            "document_id": public(self.id),
            "name": self.told_name,
            "size_bytes": self.size_bytes,
            "passages": self.passages,
            "created_at": iso(self.created_at),
        }

    @property
    def told_name(self) -> str:
        """The name, or that it cannot be read."""
        return UNREADABLE if self.name is None else self.name


_COLUMNS: Final = ", ".join(StoredDocument.__dataclass_fields__)


def select_documents(connection: Connection, rest: str, *values: object) -> list[StoredDocument]:
    """The documents that `rest` of an SQL query names: its `WHERE`, its `ORDER BY`, with `?` for `values`."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM documents {rest}", values)  # noqa: S608
    return [StoredDocument(**{**dict(row), "name": _name(row, connection.sealing)}) for row in rows]


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


def same_document(connection: Connection, owner: str, digests: Sequence[str]) -> StoredDocument | None:
    """The document of one of these digests."""
    places = ", ".join("?" for _ in digests)
    found = select_documents(connection, f"WHERE owner = ? AND digest IN ({places})", owner, *digests)
    return next(iter(found), None)


def check_document_room(connection: Connection, owner: str) -> None:
    """Raises `TooManyDocuments`."""
    row = connection.execute("SELECT count(*) FROM documents WHERE owner = ?", (owner,)).fetchone()
    if row[0] >= MAX_DOCUMENTS:
        raise TooManyDocuments(f"{MAX_DOCUMENTS} documents are kept already: delete one first.")


def insert_document(
    connection: Connection, document: StoredDocument, *, digest: str, content: bytes, read_by: int, packed: bytes
) -> None:
    """Stores a document, sealed."""
    sealing, id = connection.sealing, document.id
    values = {
        **vars(document),
        "name": sealing.seal_text(document.told_name, *_place(id, "name")),
        "digest": digest,
        "content": sealing.seal(content, *_place(id, "content")),
        "read_by": read_by,
        "packed": sealing.seal(packed, *_place(id, "packed")),
    }
    names, places = ", ".join(values), ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO documents ({names}) VALUES ({places})", list(values.values()))  # noqa: S608


def replace_passages(connection: Connection, id: str, *, read_by: int, passages: int, packed: bytes) -> None:
    """Stores what a document was read as now."""
    query = "UPDATE documents SET read_by = ?, passages = ?, packed = ? WHERE id = ?"
    connection.execute(query, (read_by, passages, connection.sealing.seal(packed, *_place(id, "packed")), id))


def document_content(connection: Connection, id: str) -> bytes | None:
    """The file as it was uploaded; None where it has gone. Raises `StoredValueRefused`."""
    return _opened(connection, id, "content")


def document_passages(connection: Connection, id: str) -> bytes | None:
    """The packed passages; None where it has gone. Raises `StoredValueRefused`."""
    return _opened(connection, id, "packed")


def _opened(connection: Connection, id: str, column: str) -> bytes | None:
    row = connection.execute(f"SELECT {column} FROM documents WHERE id = ?", (id,)).fetchone()  # noqa: S608
    return None if row is None else connection.sealing.open(bytes(row[0]), *_place(id, column))


def _name(row: Row, sealing: Sealing) -> str | None:
    try:
        return sealing.open_text(row["name"], *_place(row["id"], "name"))
    except StoredValueRefused:
        return None


def _place(id: str, column: str) -> tuple[object, ...]:
    return "documents", id, column
