"""What the stores need of a database connection: one SQL, with `?` for values, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from server.sealing import Sealing


class Row(Protocol):
    """One row: values by place and by name."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def keys(self) -> Iterable[str]: ...


class Rows(Protocol):
    """What a statement gave. `rowcount` is how many rows it changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection inside a transaction, or one that only reads. `sealing`: how values with text are kept in it."""

    @property
    def sealing(self) -> Sealing: ...
    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows: ...
