"""The events of an invocation's stream, as the server sends them: JSON objects with these fields.

Which type an event is stands in its `type`. A newer server may send others and add fields: pass over what
you don't know.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

Role: TypeAlias = Literal["research", "critique", "refine", "synthesize"]
Steering: TypeAlias = Literal["new_topic", "guidance"]
MultitaskStrategy: TypeAlias = Literal["interrupt", "enqueue", "reject", "rollback"]

TERMINAL = frozenset({"run_complete", "winding_down", "run_failed"})


class UsageFields(TypedDict):
    """Tokens, as the model counted them."""

    input_tokens: int
    output_tokens: int


class ErrorFields(TypedDict):
    """What went wrong."""

    type: str
    message: str


class SourceFields(TypedDict):
    """A passage that a search found; `id` is the number that it is cited by."""

    id: int
    title: str
    url: str
    snippet: str


class Numbered(TypedDict):
    """What every event has: its number in the stream, counted from 1 without a gap."""

    sequence_number: int


class Timed(Numbered):
    """When the server wrote it, as `2026-11-23T10:13:00.123Z` and in seconds since its process began."""

    server_time_utc: str
    server_uptime_sec: float


class RunStart(Timed):
    """The turn begins, or goes on after a crash."""

    type: Literal["run_start"]
    topic: str
    entry_mode: Literal["fresh", "resumed", "recovered"]
    thread_id: str
    invocation_id: str
    total_phases: int
    calls_per_phase: int
    model: str
    prior_topic: NotRequired[str]


class Recovered(Timed):
    """What a recovery found, behind its `run_start`."""

    type: Literal["recovered"]
    completed_phases: int
    total_phases: int
    completed_subcalls: int
    in_progress_phase: int | None


class PhaseStart(Timed):
    """A phase begins; `phase` counts from 1."""

    type: Literal["phase_start"]
    phase: int
    total: int
    title: str


class PhaseEnd(Timed):
    """All calls of a phase are committed."""

    type: Literal["phase_end"]
    phase: int
    total: int
    title: str
    duration_sec: float


class Indexing(Timed):
    """How far the reading of the documents is, before a phase's first search of them."""

    type: Literal["indexing"]
    phase: int
    done: int
    of: int


class Sources(Timed):
    """What the search of a phase found."""

    type: Literal["sources"]
    phase: int
    items: list[SourceFields]


class SubcallStart(Timed):
    """A model call begins: its text are the tokens behind its last start."""

    type: Literal["subcall_start"]
    phase: int
    role: Role
    index: int
    of: int
    attempt: int


class SubcallEnd(Timed):
    """A model call's checkpoint is committed."""

    type: Literal["subcall_end"]
    phase: int
    role: Role
    index: int
    of: int
    attempt: int
    duration_sec: float
    usage: UsageFields
    checkpoint_id: str


class Token(Numbered):
    """A piece of text, one or more of the model's tokens."""

    type: Literal["token"]
    content: str
    phase: int
    index: int


class Retrying(Timed):
    """A model call failed and is made again after `delay_sec`."""

    type: Literal["retrying"]
    phase: int
    role: Role
    index: int
    attempt: int
    delay_sec: float
    error: ErrorFields


class Cooldown(Timed):
    """The run rests until `resume_at`."""

    type: Literal["cooldown"]
    duration_sec: float
    stage: Literal["intra_phase", "inter_phase"]
    phase: int
    total: int
    resume_at: str
    subcall: NotRequired[int]
    of: NotRequired[int]


class SteeringTaken(Timed):
    """A steer was taken, on the stream that it will end."""

    type: Literal["steering"]
    message: str
    invocation_id: str
    multitask_strategy: MultitaskStrategy


class WindingDown(Timed):
    """The last event of a turn that was stopped."""

    type: Literal["winding_down"]
    cause: Literal["steering", "operator_cancel", "timeout", "budget"]
    completed_phases: int
    total_phases: int
    pending_steering_inputs: int


class RunComplete(Timed):
    """The last event of a turn that did its whole plan."""

    type: Literal["run_complete"]
    phases_completed: int
    duration_sec: float
    usage: UsageFields
    report_url: str


class RunFailed(Timed):
    """The last event of a turn that failed."""

    type: Literal["run_failed"]
    error: ErrorFields
    completed_phases: int
    resumable: bool


Event: TypeAlias = (
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
    | SteeringTaken
    | WindingDown
    | RunComplete
    | RunFailed
)
