"""What the graph remembers of a thread. What grows is a `DeltaChannel`: a checkpoint then holds only its change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Reducer:
    """How a field takes updates, and its type with title and description. LangGraph keeps nothing else of a channel."""

    reduce: Callable[[Any, Sequence[Any]], Any]
    shown: Any

    def __call__(self, current: Any, writes: Sequence[Any]) -> Any:
        return self.reduce(current, writes)


class _Shown(DeltaChannel[Any]):
    """A delta channel that says what it holds: Studio makes the form of the state from `UpdateType`."""

    @property
    def UpdateType(self) -> Any:  # LangGraph's name
        """The field's type with its title and description."""
        return self.reducer.shown if isinstance(self.reducer, _Reducer) else super().UpdateType


def _shown(reduce: Callable[[Any, Sequence[Any]], Any], kind: Any, title: str, description: str) -> _Shown:
    shown = Annotated[kind, Field(title=title, description=description)]
    return _Shown(_Reducer(reduce, shown), snapshot_frequency=SNAPSHOT_EVERY)


def _growing(item: Any, title: str, description: str) -> _Shown:
    return _shown(_append, list[item], title, description)


def _seldom(kind: Any, title: str, description: str) -> _Shown:
    """For large values that change seldom: a plain channel would be copied into every checkpoint."""
    return _shown(_latest, kind, title, description)


class Input(TypedDict, total=False):
    """What starts a turn on a thread. Give `topic`, or `message` with what it means in `steering`."""

    topic: Annotated[
        str,
        Field(
            title="Topic",
            description="What to research.",
            max_length=32_000,
            examples=["How do agents survive crashes?"],
        ),
    ]
    message: Annotated[
        str,
        Field(title="Message", description="A follow-up on the thread: a new topic, or guidance.", max_length=32_000),
    ]
    steering: Annotated[
        Steering,
        Field(
            title="Steering",
            description="new_topic: start over with it; guidance: same topic, finished phases stay; resume: go on.",
            # A default that only forms take: a field of a `TypedDict` has none.
            json_schema_extra={"default": "new_topic"},
        ),
    ]


TurnUsage = Annotated[Usage, Field(title="Usage", description="Tokens of the turn, once it has ended.")]


class Output(TypedDict):
    """What a turn ends with."""

    topic: str
    report: str
    usage: TurnUsage


class State(TypedDict, total=False):
    """The whole state of a thread; `phase` and `index` are the next subcall to do, both from 1.

    `report` is Markdown, `document` the same report as `graph.report.Report`; both are empty before a turn's end.
    """

    topic: Annotated[str, _seldom(str, "Topic", "What is researched now.")]
    message: Annotated[str, _seldom(str, "Message", "What was said last and is not taken up yet.")]
    steering: Annotated[Steering, Field(title="Steering", description="What the message means.")]
    asked: Annotated[list[Asked], _growing(Asked, "Asked", "What was asked of the thread: one entry a turn.")]
    plan: Annotated[list[str], _seldom(list[str], "Plan", "The titles of all phases, in order.")]
    findings: Annotated[list[Finding], _growing(Finding, "Findings", "What the model wrote: one entry a subcall.")]
    sources: Annotated[list[SourceList], _growing(SourceList, "Sources", "What was found: one entry a phase entered.")]
    gaps: Annotated[list[Gap], _growing(Gap, "Gaps", "What could not be had.")]
    report: Annotated[str, _seldom(str, "Report", "The report as Markdown, once the turn has ended.")]
    document: Annotated[dict[str, Any], _seldom(dict[str, Any], "Document", "The report, taken apart.")]
    spent: Annotated[list[Spent], _seldom(list[Spent], "Spent", "What the turn cost, once it has ended.")]
    usage: TurnUsage
    line: Annotated[int, Field(title="Line", description="The number of the thread's present topic, from 1.")]
    turn: Annotated[int, Field(title="Turn", description="The number of the thread's present turn, from 1.")]
    phase: Annotated[int, Field(title="Phase", description="The phase of the next subcall, from 1.")]
    index: Annotated[int, Field(title="Subcall", description="The next subcall's place in its phase, from 1.")]
    phase_started_at: Annotated[float, Field(title="Phase begun", description="When, in Unix seconds.")]
    cooldown: Annotated[Pause | None, Field(title="Cooldown", description="The rest that is due.")]
    stop: Annotated[Cause | None, Field(title="Stop", description="Why the turn is to end before its plan does.")]
