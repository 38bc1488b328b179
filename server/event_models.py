"""The events of a stream as models: what `openapi.json` says of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Moment = Annotated[str, Field(examples=["2026-11-23T10:13:00.123Z"])]
Role = Literal["research", "critique", "refine", "synthesize"]
Cause = Literal["steering", "operator_cancel", "timeout", "budget"]


class _Open(BaseModel):
    """Clients pass over fields that they don't know."""

    model_config = ConfigDict(extra="allow", frozen=True)


class TokenUsage(_Open):
    """Tokens as the model counted them."""

    input_tokens: Count
    output_tokens: Count


class ErrorInfo(_Open):
    """What failed, in words that hold no secret."""

    type: str
    message: str


class SourceItem(_Open):
    """A passage that was found; `id` is the number it is cited by."""

    id: Positive
    title: str
    url: str
    snippet: str


class SearchMade(_Open):
    """One search of one engine; `error` where it failed."""

    engine: str
    query: str
    found: Count
    error: str | None


class SpentTokens(TokenUsage):
    """What `calls` calls to one model cost, in one role."""

    phase: Count
    role: str
    model: str
    calls: Positive


class MoneySpent(_Open):
    """Money, where prices are known; `unpriced` are the models of which no price was told."""

    amount: Annotated[float, Field(ge=0)]
    currency: str
    unpriced: list[str]


class _Event(_Open):
    sequence_number: Annotated[int, Field(ge=1, description="From 1, without a gap.")]


class _Timed(_Event):
    server_time_utc: Moment
    server_uptime_sec: Annotated[float, Field(ge=0, description="Of this process, so it shows a restart.")]


class RunStart(_Timed):
    """The turn begins, or goes on after a crash."""

    type: Literal["run_start"]
    topic: str
    entry_mode: Literal["fresh", "resumed", "recovered"]
    thread_id: str
    invocation_id: str
    total_phases: Positive
    calls_per_phase: Positive
    model: str
    prior_topic: str | None = None


class Recovered(_Timed):
    """How much is kept; behind the `run_start` of each recovery."""

    type: Literal["recovered"]
    completed_phases: Count
    total_phases: Positive
    completed_subcalls: Count
    in_progress_phase: int | None


class PhaseStart(_Timed):
    """A phase begins."""

    type: Literal["phase_start"]
    phase: Positive
    total: Positive
    title: str


class PhaseEnd(_Timed):
    """All calls of a phase are committed."""

    type: Literal["phase_end"]
    phase: Positive
    total: Positive
    title: str
    duration_sec: Seconds
    usage: TokenUsage | None = None


class Indexing(_Timed):
    """Documents are being read before a search: `done` files `of` so many."""

    type: Literal["indexing"]
    phase: Positive
    done: Count
    of: Count


class Sources(_Timed):
    """What the phase's search found, who was asked for it, and what it cost where a model searched."""

    type: Literal["sources"]
    phase: Positive
    items: list[SourceItem]
    searches: list[SearchMade] = []
    spent: list[SpentTokens] = []


class SubcallStart(_Timed):
    """A model call begins."""

    type: Literal["subcall_start"]
    phase: Positive
    role: Role
    index: Positive
    of: Positive
    attempt: Positive


class SubcallEnd(_Timed):
    """The checkpoint with a model call's text is committed."""

    type: Literal["subcall_end"]
    phase: Positive
    role: Role
    index: Positive
    of: Positive
    attempt: Positive
    duration_sec: Seconds
    usage: TokenUsage
    checkpoint_id: str
    model: str | None = None


class Token(_Event):
    """A piece of a model call's text."""

    type: Literal["token"]
    content: str
    phase: Positive
    index: Positive


class Retrying(_Timed):
    """A model call failed and is made again after `delay_sec`."""

    type: Literal["retrying"]
    phase: Positive
    role: Role
    index: Positive
    attempt: Positive
    delay_sec: Seconds
    error: ErrorInfo


class Cooldown(_Timed):
    """The run rests until `resume_at`; inside a phase `subcall` and `of` say what comes next."""

    type: Literal["cooldown"]
    duration_sec: Seconds
    stage: Literal["intra_phase", "inter_phase"]
    phase: Positive
    total: Positive
    resume_at: Moment
    subcall: Positive | None = None
    of: Positive | None = None


class Steering(_Timed):
    """A steer has been taken, on the stream it will end."""

    type: Literal["steering"]
    message: str
    invocation_id: str
    multitask_strategy: Literal["interrupt", "rollback"]


class WindingDown(_Timed):
    """The last event of a turn that was stopped."""

    type: Literal["winding_down"]
    cause: Cause
    completed_phases: Count
    total_phases: Positive
    pending_steering_inputs: Count


class RunComplete(_Timed):
    """The last event of a turn that did its plan. `report_url` counts from where the API stands."""

    type: Literal["run_complete"]
    phases_completed: Count
    duration_sec: Seconds
    usage: TokenUsage
    usage_by_role: dict[str, TokenUsage] | None = None
    cost: MoneySpent | None = None
    report_url: str


class RunFailed(_Timed):
    """The last event of a turn that met an error."""

    type: Literal["run_failed"]
    error: ErrorInfo
    completed_phases: Count
    resumable: bool


EventModel = Annotated[
    RunStart
    | Recovered
    | PhaseStart
    | PhaseEnd
    | Indexing
    | Sources
    | SubcallStart
    | SubcallEnd
    | Token
    | Retrying
    | Cooldown
    | Steering
    | WindingDown
    | RunComplete
    | RunFailed,
    Field(discriminator="type"),
]


class StreamEvent(_Open):
    """The `data` of one numbered frame."""

    event: EventModel


class StreamEnd(_Open):
    """The `data` of the last frame, which has no number: `event: done`, or `event: gone` for removed events."""

    type: Literal["done", "gone"]
    invocation_id: str
    status: str
