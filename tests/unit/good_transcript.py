"""Transcripts made by hand: one event each, a whole turn, and the frames they are sent in."""

from __future__ import annotations

import orjson

from tests.acceptance.client import Frame, Json

RETRY = Frame(retry=1000)
PING = Frame(comments=("ping",))
USAGE = {"input_tokens": 3, "output_tokens": 2}
STAMPS = {"server_time_utc": "2026-11-23T10:13:00.123Z", "server_uptime_sec": 1.5}
ERROR = {"type": "RateLimitError", "message": "slow down"}


def event(kind: str, **fields: object) -> Json:
    return {"type": kind, **({} if kind == "token" else STAMPS), **fields}


def run_start(mode: str) -> Json:
    names = {"topic": "t", "thread_id": "th", "invocation_id": "inv_1", "model": "offline"}
    return event("run_start", entry_mode=mode, total_phases=2, calls_per_phase=2, **names)


def recovered(phases: int, subcalls: int) -> Json:
    counts = {"completed_phases": phases, "completed_subcalls": subcalls, "in_progress_phase": phases + 1}
    return event("recovered", total_phases=2, **counts)


def phase_start(phase: int) -> Json:
    return event("phase_start", phase=phase, total=2, title=f"phase {phase}")


def phase_end(phase: int) -> Json:
    return phase_start(phase) | {"type": "phase_end", "duration_sec": 2.0}


def start(phase: int, index: int, attempt: int = 1) -> Json:
    role = "research" if index == 1 else "synthesize"
    return event("subcall_start", phase=phase, index=index, role=role, of=2, attempt=attempt)


def end(phase: int, index: int, attempt: int = 1) -> Json:
    done = {"type": "subcall_end", "duration_sec": 1.0, "usage": USAGE, "checkpoint_id": "c1"}
    return start(phase, index, attempt) | done


def token(phase: int, index: int, content: str) -> Json:
    return event("token", phase=phase, index=index, content=content)


def retrying(phase: int, index: int) -> Json:
    fields = {"phase": phase, "index": index, "role": "research", "attempt": 1}
    return event("retrying", delay_sec=2, error=ERROR, **fields)


def cooldown(stage: str, phase: int, **inside: int) -> Json:
    at = "2026-11-23T10:13:05.123Z"
    return event("cooldown", stage=stage, phase=phase, total=2, duration_sec=5, resume_at=at, **inside)


def winding_down(cause: str, phases: int = 0) -> Json:
    counts = {"completed_phases": phases, "total_phases": 2, "pending_steering_inputs": 0}
    return event("winding_down", cause=cause, **counts)


STEERING = event("steering", message="m", invocation_id="inv_2", multitask_strategy="interrupt")
FAILED = event("run_failed", error=ERROR, completed_phases=0, resumable=True)
COMPLETE = event("run_complete", phases_completed=2, duration_sec=9, usage=USAGE, report_url="/r")
ITEM = {"id": "1", "title": "", "url": "", "snippet": ""}

# Everything that can happen: a retry, a crash in a call, a crash between a call's commit and its last events.
GOOD = [
    run_start("fresh"),
    phase_start(1),
    event("sources", phase=1, items=[ITEM]),
    start(1, 1),
    token(1, 1, "lost "),
    retrying(1, 1),
    start(1, 1, 2),
    token(1, 1, "a "),
    token(1, 1, "b"),
    end(1, 1, 2),
    cooldown("intra_phase", 1, subcall=2, of=2),
    start(1, 2),
    token(1, 2, "lost "),
    run_start("recovered"),
    recovered(0, 1),
    start(1, 2, 2),
    token(1, 2, "c"),
    end(1, 2, 2),
    phase_end(1),
    cooldown("inter_phase", 1),
    phase_start(2),
    start(2, 1),
    token(2, 1, "d "),
    run_start("recovered"),
    recovered(1, 3),
    token(2, 1, "e"),
    end(2, 1),
    start(2, 2),
    token(2, 2, "f"),
    end(2, 2),
    phase_end(2),
    COMPLETE,
]


def done(status: str) -> Frame:
    body = {"type": "done", "invocation_id": "inv_1", "status": status}
    return Frame(event="done", data=orjson.dumps(body).decode())


def numbered(events: list[Json]) -> list[Frame]:
    lines = [orjson.dumps(event | {"sequence_number": number}).decode() for number, event in enumerate(events, 1)]
    return [Frame(id=str(number), data=line) for number, line in enumerate(lines, 1)]


def stream(events: list[Json], status: str = "completed") -> list[Frame]:
    return [RETRY, *numbered(events), done(status)]
