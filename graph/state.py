"""What the graph remembers of a thread. What grows is a `DeltaChannel`: a checkpoint then holds only its change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from langgraph.channels import DeltaChannel
from pydantic import Field

# Before Python 3.12, pydantic makes a schema of this one alone.
from typing_extensions import TypedDict

from graph.context import Role
from graph.usage import Spent

# The SQLite saver replays at most this many updates; a smaller number stores more whole copies.
SNAPSHOT_EVERY = 1000

Steering = Literal["new_topic", "guidance", "resume"]
Cause = Literal["steering", "operator_cancel", "timeout", "budget"]
Stage = Literal["intra_phase", "inter_phase"]


class Usage(TypedDict):
    """Tokens of one or more model calls, as the model counted them."""

    input_tokens: int
    output_tokens: int


class Source(TypedDict):
    """A passage that a search found. `id` is the number it is cited by, counted from 1 over the whole thread.

    `place` is where in the document, `origin` the engine that found it. `summary`: the words are the search's own.
    """

    id: int
    title: str
    url: str
    snippet: str
    place: NotRequired[str]
    origin: NotRequired[str]
    summary: NotRequired[bool]


class Searching(TypedDict):
    """One query to one engine, how many passages it found, and why it failed where it did."""

    engine: str
    query: str
    found: int
    error: str | None


class SourceList(TypedDict):
    """The sources that a phase was given: one entry each time a phase is entered, also where nothing was found."""

    line: int
    turn: int
    phase: int
    items: list[Source]
    searches: NotRequired[list[Searching]]
    spent: NotRequired[list[Spent]]


class Finding(TypedDict):
    """The result of one subcall, the `index`th `of` its phase. Times are Unix seconds.

    `line` counts the thread's topics from 1, `turn` its turns.
    """

    line: int
    turn: int
    phase: int
    index: int
    of: NotRequired[int]
    role: Role
    text: str
    model: str
    usage: Usage
    phase_started_at: float
    started_at: float
    ended_at: float


class Asked(TypedDict):
    """What was asked of the thread, and when (Unix seconds): one entry a turn."""

    turn: int
    line: int
    steering: Steering
    message: str
    topic: str
    at: float


class Pause(TypedDict):
    """A cooldown that is due. `resume_at` is an absolute time (Unix seconds), so a restart waits only the rest."""

    stage: Stage
    duration_sec: float
    resume_at: float
    phase: int
    subcall: int


class Gap(TypedDict):
    """Something that could not be had, said in the report: a search that failed, a file that could not be read.

    `phase` is 0 where it concerns the whole run.
    """

    line: int
    phase: int
    message: str


def _append(current: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return current + [item for write in writes for item in write]


def _latest(current: Any, writes: Sequence[Any]) -> Any:
    return writes[-1] if writes else current


# A delta channel each: LangGraph keys them by field, so one object must not serve two fields.
def _growing() -> DeltaChannel[list[Any]]:
    return DeltaChannel(_append, snapshot_frequency=SNAPSHOT_EVERY)


def _seldom() -> DeltaChannel[Any]:
    """For large values that change seldom: a plain channel would be copied into every checkpoint."""
    return DeltaChannel(_latest, snapshot_frequency=SNAPSHOT_EVERY)


class Input(TypedDict, total=False):
    """What starts a turn on a thread. Give `topic`, or `message` with what it means in `steering`."""

    topic: Annotated[str, Field(title="Topic", description="What to research.", max_length=32_000)]
    message: Annotated[
        str,
        Field(title="Message", description="A follow-up on the thread: a new topic, or guidance.", max_length=32_000),
    ]
    steering: Annotated[
        Steering,
        Field(
            title="Steering",
            description="new_topic: start over with it; guidance: same topic, finished phases stay; resume: go on.",
        ),
    ]


class Output(TypedDict):
    """What a turn ends with."""

    topic: str
    report: str
    usage: Usage


class State(TypedDict, total=False):
    """The whole state of a thread; `phase` and `index` are the next subcall to do, both from 1.

    `report` is Markdown, `document` the same report as `graph.report.Report`; both are empty before a turn's end.
    """

    topic: Annotated[str, _seldom()]
    message: Annotated[str, _seldom()]
    steering: Steering
    asked: Annotated[list[Asked], _growing()]
    plan: Annotated[list[str], _seldom()]
    findings: Annotated[list[Finding], _growing()]
    sources: Annotated[list[SourceList], _growing()]
    gaps: Annotated[list[Gap], _growing()]
    report: Annotated[str, _seldom()]
    document: Annotated[dict[str, Any], _seldom()]
    spent: Annotated[list[Spent], _seldom()]
    usage: Usage
    line: int
    turn: int
    phase: int
    index: int
    phase_started_at: float
    cooldown: NotRequired[Pause | None]
    stop: NotRequired[Cause | None]
