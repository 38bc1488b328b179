"""The table "Events" of protocol.md: which fields each type has, and of which types they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from tests.acceptance.client import Json


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Stamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"), AfterValidator(_moment)]
Role = Literal["research", "critique", "refine", "synthesize"]
OPEN = ConfigDict(strict=True, extra="allow")


@with_config(OPEN)
class Usage(TypedDict):
    input_tokens: Count
    output_tokens: Count


@with_config(OPEN)
class Failure(TypedDict):
    type: Text
    message: str


@with_config(OPEN)
class Source(TypedDict):
    id: str | int
    title: str
    url: str
    snippet: str
    place: NotRequired[str]
    origin: NotRequired[str]
    summary: NotRequired[bool]


@with_config(OPEN)
class Search(TypedDict):
    engine: Text
    query: str
    found: Count
    error: str | None


@with_config(OPEN)
class Spent(Usage):
    phase: Count
    role: Text
    model: str
    calls: Positive


@with_config(OPEN)
class Cost(TypedDict):
    amount: Annotated[float, Field(ge=0)]
    currency: Text
    unpriced: list[str]


_SUBCALL: dict[str, Any] = {"phase": Positive, "role": Role, "index": Positive, "attempt": Positive}
_PHASE: dict[str, Any] = {"phase": Positive, "total": Positive, "title": str}
_STAMPS: dict[str, Any] = {"server_time_utc": Stamp, "server_uptime_sec": Seconds}
# Types of fields, as pydantic understands them; extra fields are passed over.
FIELDS: dict[str, dict[str, Any]] = {
    "run_start": {
        "topic": str,
        "entry_mode": Literal["fresh", "resumed", "recovered"],
        "thread_id": Text,
        "invocation_id": Text,
        "total_phases": Positive,
        "calls_per_phase": Positive,
        "model": Text,
        "prior_topic": NotRequired[str | None],
    },
    "recovered": {
        "completed_phases": Count,
        "total_phases": Positive,
        "completed_subcalls": Count,
        "in_progress_phase": int | None,
    },
    "phase_start": _PHASE,
    "phase_end": _PHASE | {"duration_sec": Seconds, "usage": NotRequired[Usage]},
    "indexing": {"phase": Positive, "done": Count, "of": Count},
    "sources": {
        "phase": Positive,
        "items": list[Source],
        "searches": NotRequired[list[Search]],
        "spent": NotRequired[list[Spent]],
    },
    "subcall_start": _SUBCALL | {"of": Positive},
    "subcall_end": _SUBCALL
    | {"of": Positive, "duration_sec": Seconds, "usage": Usage, "checkpoint_id": Text}
    | {"model": NotRequired[str]},
    "token": {"content": Text, "phase": Positive, "index": Positive},
    "retrying": _SUBCALL | {"delay_sec": Seconds, "error": Failure},
    "cooldown": {
        "duration_sec": Seconds,
        "stage": Literal["intra_phase", "inter_phase"],
        "phase": Positive,
        "total": Positive,
        "resume_at": Annotated[str, AfterValidator(_moment)],
    },
    "steering": {"message": Text, "invocation_id": Text, "multitask_strategy": Literal["interrupt", "rollback"]},
    "winding_down": {
        "cause": Literal["steering", "operator_cancel", "timeout", "budget"],
        "completed_phases": Count,
        "total_phases": Positive,
        "pending_steering_inputs": Count,
    },
    "run_complete": {"phases_completed": Count, "duration_sec": Seconds, "usage": Usage, "report_url": Text}
    | {"usage_by_role": NotRequired[dict[str, Usage]], "cost": NotRequired[Cost | None]},
    "run_failed": {"error": Failure, "completed_phases": Count, "resumable": bool},
}
_UNKNOWN: dict[str, Any] = {"sequence_number": Positive, "type": Text}
# By the cause of winding_down, else by the type of the last event.
STATUS = {
    "run_complete": ("completed",),
    "run_failed": ("failed",),
    "steering": ("superseded",),
    "operator_cancel": ("cancelled",),
    "timeout": ("timed_out",),
    "budget": ("completed", "timed_out"),
}


def _shape(name: str, fields: dict[str, Any]) -> TypeAdapter[Json]:
    shape = with_config(OPEN)(TypedDict(name, fields))  # type: ignore[operator]  # mypy wants a literal
    return TypeAdapter(shape)


SHAPES = {
    name: _shape(name, _UNKNOWN | ({} if name == "token" else _STAMPS) | fields) for name, fields in FIELDS.items()
}
UNKNOWN_SHAPE = _shape("unknown", _UNKNOWN | _STAMPS)
COOLDOWN_INSIDE = _shape("cooldown", {"subcall": Positive, "of": Positive})
DONE = _shape("done", {"type": Literal["done"], "invocation_id": Text, "status": Text})
