"""What the API answers with, as models: what `openapi.json` says of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.event_models import Count, ErrorInfo, Moment, TokenUsage
from server.requests import DOCUMENT_ID
from server.status import Status


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class FieldError(_Answer):
    """A field that was refused, and why."""

    field: str
    message: str


class ProblemDetails(_Answer):
    """An error, as RFC 9457 has it; `errors` names fields."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: list[FieldError] = []


class Started(_Answer):
    """A turn that was taken. `crashing` is the answer of DEMO_MODE alone, and the only one without names."""

    status: Literal["started", "queued", "crashing"]
    invocation_id: str | None = None
    session_id: str | None = None
    thread_id: str | None = None


class Output(_Answer):
    """What a turn left: its number on the thread, and its report as Markdown where the turn has ended."""

    turn: Count
    reply: str | None
    report_url: str | None


class Record(_Answer):
    """The record of an invocation."""

    invocation_id: str
    thread_id: str
    status: Status
    topic: str
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    last_event_id: Count
    phases_completed: Count
    total_phases: Count
    usage: TokenUsage
    error: ErrorInfo | None
    superseded_by: str | None
    metadata: dict[str, Any]
    output: Output


class Page(_Answer):
    """Invocations, newest first; `next_cursor` asks for the next page."""

    invocations: list[Record]
    next_cursor: str | None


class Report(_Answer):
    """A report as JSON."""

    invocation_id: str
    partial: bool
    markdown: str


class _Progress(_Answer):
    completed_phases: Count
    total_phases: Count
    completed_subcalls: Count
    in_progress_phase: int | None
    next: list[str]


class Question(_Answer):
    """An interrupt that is pending, and the form that would answer it."""

    id: str
    value: Any
    response_schema: dict[str, Any] | None


class Thread(_Progress):
    """A thread: its turns, newest first, what waits, and how far its research is."""

    thread_id: str
    status: Literal["idle", "busy"]
    topic: str
    interrupts: list[Question]
    waiting: list[str]
    invocations: list[Record]


class CheckpointInfo(_Progress):
    """One checkpoint of a thread."""

    checkpoint_id: str
    parent_checkpoint_id: str | None
    created_at: Moment | None
    step: int | None
    source: str | None
    invocation_id: str | None


class History(_Answer):
    """A thread's checkpoints, newest first."""

    thread_id: str
    checkpoints: list[CheckpointInfo]
    next_cursor: str | None


class Health(_Answer):
    """`alive` or `ready`."""

    status: Literal["alive", "ready"]


class SessionInfo(_Answer):
    """Whether a key is needed here, and the name of the one that this session is of."""

    keys: bool
    key: str | None


class SignIn(BaseModel):
    """The body of a sign-in."""

    model_config = ConfigDict(extra="forbid")

    key: str


class DocumentRecord(_Answer):
    """An uploaded document. `passages` is into how many pieces it was cut, which are searched and cited."""

    document_id: Annotated[str, Field(pattern=f"^{DOCUMENT_ID}$")]
    name: str
    size_bytes: Count
    passages: Annotated[int, Field(ge=1)]
    created_at: Moment


class Documents(_Answer):
    """All documents of a key, newest first."""

    documents: list[DocumentRecord]
