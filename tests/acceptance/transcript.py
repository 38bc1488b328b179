"""Whether an event stream keeps what protocol.md promises: E1 to E3, "Events", and the record that goes with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from tests.acceptance.client import Frame, Frames, Json, ResearchClient
from tests.acceptance.event_shapes import COOLDOWN_INSIDE, DONE, SHAPES, STATUS, UNKNOWN_SHAPE
from tests.acceptance.turn_order import BrokenPromise, SubcallKey, Turn

__all__ = [
    "BrokenPromise",
    "check_invocation",
    "check_same",
    "check_stream",
    "events",
    "model_calls_repeated",
    "subcall_texts",
]

ANY_EVENT = TypeAdapter(Json)


def check_stream(frames: Sequence[Frame], *, ended: bool) -> None:
    """Check a stream read from its start; `ended`: it must have come to its end. Raises `BrokenPromise`."""
    numbered, done = _sections(frames)
    turn = Turn()
    for number, frame in enumerate(numbered, 1):
        turn.take(_event(frame, number))
    if done:
        _check_done(_parsed(done, "done", DONE), turn)
    if ended and turn.terminal is None:
        raise BrokenPromise("E2", len(numbered), "the stream ended without run_complete, winding_down or run_failed")
    if ended and not done:
        raise BrokenPromise("Events", len(numbered), "the stream ended without the frame `event: done`")


def check_same(a: Sequence[Frame], b: Sequence[Frame]) -> None:
    """Two readers saw the same bytes under every number that both saw. Raises `BrokenPromise`."""
    seen = {frame.id: frame for frame in a if frame.id}
    for frame in b:
        other = seen.get(frame.id or "")
        if other and (other.data, other.event) != (frame.data, frame.event):
            raise BrokenPromise("E1", frame.id or "", f"two readers saw {other.data!r} and {frame.data!r}")


def subcall_texts(frames: Sequence[Frame]) -> dict[SubcallKey, str]:
    """The text of each subcall: its tokens after its last subcall_start."""
    texts: dict[SubcallKey, str] = {}
    for event in events(frames):
        if event["type"] == "subcall_start":
            texts[event["phase"], event["index"]] = ""
        elif event["type"] == "token":
            key = event["phase"], event["index"]
            texts[key] = texts.get(key, "") + event["content"]
    return texts


def model_calls_repeated(frames: Sequence[Frame]) -> int:
    """How many subcalls started again, behind `recovered` or `retrying`."""
    starts = [(event["phase"], event["index"]) for event in events(frames) if event["type"] == "subcall_start"]
    return len(starts) - len(set(starts))


def events(frames: Sequence[Frame]) -> list[Json]:
    """The numbered events, unchecked."""
    return [orjson.loads(frame.data) for frame in frames if frame.id and frame.data]


def check_invocation(client: ResearchClient, invocation_id: str) -> Frames:
    """Check an ended invocation by its stream, read whole and in random cuts, its record and its report."""
    whole = client.read_stream(invocation_id)
    if whole.closed != "done":
        raise BrokenPromise("Events", whole.last_id, "the stream of an ended turn does not close behind `done`")
    check_stream(whole, ended=True)
    _check_headers(whole)
    _check_cuts(client, invocation_id, whole)
    _check_record(client.record(invocation_id), whole)
    if client.record(invocation_id)["status"] == "completed" and not client.report(invocation_id).strip():
        raise BrokenPromise("Routes", whole.last_id, "a completed turn has an empty report")
    return whole


def _check_headers(frames: Frames) -> None:
    if not frames.headers.get("content-type", "").startswith("text/event-stream"):
        raise BrokenPromise("Events", 0, f"content-type is {frames.headers.get('content-type')}")
    for name, value in (("cache-control", "no-store"), ("x-accel-buffering", "no")):
        if frames.headers.get(name) != value:
            raise BrokenPromise("Events", 0, f"the header {name} is {frames.headers.get(name)}, not {value}")


def _check_cuts(client: ResearchClient, invocation_id: str, whole: Frames) -> None:
    pieces, chance = Frames(), random.Random(invocation_id)  # the same cuts again for the same invocation
    while pieces.closed != "done":
        piece = _piece(client, invocation_id, pieces.last_id, whole.last_id, chance)
        check_same(whole, piece)
        pieces.extend(frame for frame in piece if frame.id or frame.event)
        pieces.closed = piece.closed
    if [(frame.id, frame.event, frame.data) for frame in pieces] != [
        (frame.id, frame.event, frame.data) for frame in whole if frame.id or frame.event
    ]:
        raise BrokenPromise("E1", whole.last_id, "a reader that came back with its last number saw another stream")


def _piece(client: ResearchClient, invocation_id: str, after: int, last: int, chance: random.Random) -> Frames:
    via: Literal["header", "query"] = chance.choice(("header", "query"))
    stop = str(after + chance.randint(1, max(1, last // 4)))
    piece = client.read_stream(invocation_id, after, lambda frame: frame.id == stop, via=via)
    first = next((frame.id for frame in piece if frame.id), None)
    if first not in (None, str(after + 1)):
        raise BrokenPromise("E1", after, f"resumed behind {after} by the {via}, the stream goes on with {first}")
    if piece.closed == "cut":
        raise BrokenPromise("Events", after, f"resumed by the {via}, the stream of an ended turn was cut")
    return piece


def _check_record(record: Json, whole: Frames) -> None:
    terminal, done = events(whole)[-1], orjson.loads(whole[-1].data or "{}")
    completed = terminal.get("phases_completed", terminal.get("completed_phases"))
    expected = {"status": done["status"], "last_event_id": whole.last_id, "phases_completed": completed}
    for name, value in expected.items():
        if record.get(name) != value:
            raise BrokenPromise("Routes", whole.last_id, f"the record's {name} is {record.get(name)}, not {value}")
    if not record.get("ended_at"):
        raise BrokenPromise("Routes", whole.last_id, "the record of an ended turn has no ended_at")


def _sections(frames: Sequence[Frame]) -> tuple[list[Frame], Frame | None]:
    """The numbered frames, and the last, unnumbered one."""
    heard = [frame for frame in frames if frame != Frame(comments=frame.comments)]
    if not heard or heard[0].retry != 1000:
        raise BrokenPromise("Events", 0, "the stream does not begin with `retry: 1000`")
    if any(frame.retry is not None for frame in heard[1:]):
        raise BrokenPromise("Events", 0, "`retry` comes again")
    numbered = heard[1:] if heard[0] == Frame(retry=1000, comments=heard[0].comments) else heard
    at = next((at for at, frame in enumerate(numbered) if frame.event == "done"), None)
    if at is None:
        return numbered, None
    if frames[-1] is not numbered[at] or at + 1 < len(numbered):
        raise BrokenPromise("Events", "done", "something follows the frame `event: done`")
    if numbered[at].id is not None:
        raise BrokenPromise("Events", "done", "the frame `event: done` has a number")
    return numbered[:at], numbered[at]


def _event(frame: Frame, number: int) -> Json:
    if frame.event is not None:
        raise BrokenPromise("Events", number, f"the frame has the field `event: {frame.event}`")
    if frame.id != str(number):
        raise BrokenPromise("E1", number, f"the number is {frame.id}, where {number} comes next")
    kind = _parsed(frame, number, ANY_EVENT).get("type")
    shape = SHAPES.get(kind, UNKNOWN_SHAPE) if isinstance(kind, str) else UNKNOWN_SHAPE
    event = _parsed(frame, number, shape)
    if event["sequence_number"] != number:
        raise BrokenPromise("E1", number, f"sequence_number is {event['sequence_number']}")
    if kind == "cooldown" and event["stage"] == "intra_phase":
        _parsed(frame, number, COOLDOWN_INSIDE)
    return event


def _parsed(frame: Frame, number: int | str, shape: TypeAdapter[Json]) -> Json:
    if frame.data is None or "\n" in frame.data:
        raise BrokenPromise("Events", number, f"`data` is not one line: {frame.data!r}")
    try:
        return shape.validate_python(orjson.loads(frame.data))
    except orjson.JSONDecodeError as error:
        raise BrokenPromise("Events", number, f"`data` is not JSON: {frame.data!r}") from error
    except ValidationError as error:
        raise BrokenPromise("Events", number, f"wrong fields: {error}") from error


def _check_done(done: Json, turn: Turn) -> None:
    if turn.terminal is None:
        raise BrokenPromise("E2", "done", "the stream ended without run_complete, winding_down or run_failed")
    if turn.start and done["invocation_id"] != turn.start["invocation_id"]:
        raise BrokenPromise("Events", "done", f"invocation_id is {done['invocation_id']}")
    name = "cause" if turn.terminal["type"] == "winding_down" else "type"
    fitting = STATUS[str(turn.terminal[name])]
    if done["status"] not in fitting:
        raise BrokenPromise("Events", "done", f"status is {done['status']}, not {' or '.join(fitting)}")
