"""What the server answers, as frozen values. What it says beyond them stays in `Invocation.fields`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from client.errors import AnswerNotUnderstood
from client.fields import Fields, moment, part, parts, raw, whole

Status: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled", "timed_out", "superseded"]

ENDED = frozenset({"completed", "failed", "cancelled", "timed_out", "superseded"})


@dataclass(frozen=True)
class Started:
    """A turn that was taken. `status` is `started`, `queued`, or where a request was repeated the turn's own."""

    invocation_id: str
    thread_id: str
    status: str

    @classmethod
    def of(cls, answer: Fields) -> Started:
        if not raw(answer, "invocation_id"):
            raise AnswerNotUnderstood(
                f"The server took the message but started no run (status {raw(answer, 'status')})."
            )
        return cls(raw(answer, "invocation_id"), raw(answer, "thread_id"), raw(answer, "status"))


@dataclass(frozen=True)
class Usage:
    """Tokens, as the model counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Failure:
    """Why a turn failed."""

    type: str
    message: str


@dataclass(frozen=True)
class Invocation:
    """The record of one turn. `status` may be one that this client does not know, of a newer server."""

    invocation_id: str
    thread_id: str
    status: str
    topic: str
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_event_id: int = 0
    phases_completed: int = 0
    total_phases: int = 0
    usage: Usage = Usage()
    error: Failure | None = None
    superseded_by: str | None = None
    fields: Fields = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @classmethod
    def of(cls, record: Fields) -> Invocation:
        usage, error = part(record, "usage"), part(record, "error")
        return cls(
            invocation_id=raw(record, "invocation_id"),
            thread_id=raw(record, "thread_id"),
            status=raw(record, "status"),
            topic=raw(record, "topic"),
            created_at=moment(record, "created_at"),
            started_at=moment(record, "started_at"),
            ended_at=moment(record, "ended_at"),
            last_event_id=whole(record, "last_event_id"),
            phases_completed=whole(record, "phases_completed"),
            total_phases=whole(record, "total_phases"),
            usage=Usage(whole(usage, "input_tokens"), whole(usage, "output_tokens")),
            error=Failure(raw(error, "type"), raw(error, "message")) if error else None,
            superseded_by=raw(record, "superseded_by") or None,
            fields=record,
        )


@dataclass(frozen=True)
class Page:
    """A page of the list, newest first; `next_cursor` asks for the one behind it."""

    invocations: tuple[Invocation, ...]
    next_cursor: str | None

    def __iter__(self) -> Iterator[Invocation]:
        return iter(self.invocations)

    def __len__(self) -> int:
        return len(self.invocations)

    @classmethod
    def of(cls, answer: Fields) -> Page:
        return cls(tuple(map(Invocation.of, parts(answer, "invocations"))), raw(answer, "next_cursor") or None)


@dataclass(frozen=True)
class Report:
    """A report as Markdown; a notebook shows it rendered. `partial`: not all of the plan was done."""

    invocation_id: str
    markdown: str
    partial: bool

    def __str__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown

    @classmethod
    def of(cls, answer: Fields) -> Report:
        return cls(raw(answer, "invocation_id"), raw(answer, "markdown"), answer.get("partial") is True)


@dataclass(frozen=True)
class Document:
    """An uploaded document; `passages` is into how many pieces it was cut, which are searched and cited."""

    document_id: str
    name: str
    size_bytes: int
    passages: int
    created_at: datetime | None = None

    @classmethod
    def of(cls, record: Fields) -> Document:
        return cls(
            document_id=raw(record, "document_id"),
            name=raw(record, "name"),
            size_bytes=whole(record, "size_bytes"),
            passages=whole(record, "passages"),
            created_at=moment(record, "created_at"),
        )

    @classmethod
    def all_of(cls, answer: Fields) -> tuple[Document, ...]:
        return tuple(map(cls.of, parts(answer, "documents")))
