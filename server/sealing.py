"""How values that hold a user's or a model's text are kept on disk: as they are, or encrypted under ENCRYPTION_KEY.

Every such value is sealed for its place (table, column, whose it is), and is opened for that place alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from server.database import DatabaseUnusable

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import CipherProtocol

    from server.settings import Settings
    from server.sql import Connection

NO_KEY: Final = "none"


class StoredValueRefused(Exception):
    """A stored value cannot be read: it was changed or moved, or its key is not among those of ENCRYPTION_KEY."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class Sealing(Protocol):
    """Seals and opens values. `open` and `open_text` raise `StoredValueRefused`.

    `fingerprints` are those of its keys, the one that seals first; none where values are kept as they are.
    """

    @property
    def fingerprints(self) -> tuple[str, ...]: ...
    def seal(self, plain: bytes, *place: object) -> bytes: ...
    def open(self, sealed: bytes, *place: object) -> bytes: ...
    def seal_text(self, plain: str, *place: object) -> str: ...
    def open_text(self, sealed: str, *place: object) -> str: ...


class Plain:
    """Keeps values as they are."""

    fingerprints: tuple[str, ...] = ()

    def seal(self, plain: bytes, *place: object) -> bytes:
        """`plain`."""
        return plain

    def open(self, sealed: bytes, *place: object) -> bytes:
        """`sealed`."""
        return sealed

    def seal_text(self, plain: str, *place: object) -> str:
        """`plain`."""
        return plain

    def open_text(self, sealed: str, *place: object) -> str:
        """`sealed`."""
        return sealed


PLAIN: Final = Plain()


def open_sealing(settings: Settings) -> Sealing:
    """As ENCRYPTION_KEY says."""
    if settings.encryption_key is None:
        return PLAIN
    from server.encryption import encryption_of

    return encryption_of(settings.encryption_key.get_secret_value())


def checkpoint_cipher(sealing: Sealing) -> CipherProtocol | None:
    """What LangGraph's serializer encrypts with; None where it does not."""
    if not sealing.fingerprints:
        return None
    from server.encryption import CheckpointCipher

    return CheckpointCipher(sealing)


def settle_keys(connection: Connection, sealing: Sealing) -> None:
    """At a database's first start, notes the key that seals it; later, refuses to go on without. One transaction.

    Raises `DatabaseUnusable`.
    """
    # Changes nothing: it makes other hosts that start wait until this one is done.
    connection.execute("UPDATE sealing SET fingerprints = fingerprints")
    noted: list[str] = connection.execute("SELECT fingerprints FROM sealing").fetchone()[0].split()
    given = sealing.fingerprints
    if noted == [NO_KEY] and given:
        raise DatabaseUnusable(
            "ENCRYPTION_KEY: this database was begun without a key and stays so: unset it, or begin another database."
        )
    if noted and noted != [NO_KEY] and (lacking := [name for name in noted if name not in given]):
        has = "it is unset" if not given else "it has no such key"
        raise DatabaseUnusable(
            f"ENCRYPTION_KEY: this database is encrypted with the key of fingerprint {lacking[0]}, and {has}."
        )
    first = given[0] if given else NO_KEY
    if first not in noted:
        connection.execute("UPDATE sealing SET fingerprints = ?", (" ".join([*noted, first]),))
