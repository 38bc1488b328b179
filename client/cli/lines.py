"""The lines that stay on the screen: one for each event that is worth it."""

from __future__ import annotations

from collections.abc import Callable

from client.fields import Fields, number, part, parts, text, whole


def line_of(event: Fields) -> str | None:
    """The event's line; None for one that has none, or that this client doesn't know."""
    write = _LINES.get(str(event.get("type")))
    return write(event) if write else None


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.8 s`, `2 min 5 s`, `1 h 3 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def count(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}" if number_of == 1 else f"{number_of:,} {noun}s"


def _run_start(event: Fields) -> str | None:
    if event.get("entry_mode") == "recovered":
        return None
    plan = f"{count(whole(event, 'total_phases'), 'phase')} of {count(whole(event, 'calls_per_phase'), 'call')}"
    return f"Researching: {text(event, 'topic')} ({plan}, model {text(event, 'model')})"


def _recovered(event: Fields) -> str:
    done = f"{whole(event, 'completed_phases')} of {count(whole(event, 'total_phases'), 'phase')}"
    return f"Recovered: {done} and {count(whole(event, 'completed_subcalls'), 'call')} are kept."


def _phase_end(event: Fields) -> str:
    place = f"Phase {whole(event, 'phase')} of {whole(event, 'total')}"
    return f"{place} done in {duration(number(event, 'duration_sec'))}: {text(event, 'title')}"


def _indexing(event: Fields) -> str:
    return f"Reading documents: {whole(event, 'done'):,} of {count(whole(event, 'of'), 'file')}"


def _sources(event: Fields) -> str:
    return f"Phase {whole(event, 'phase')}: {count(len(parts(event, 'items')), 'source')}"


def _retrying(event: Fields) -> str:
    call = f"call {whole(event, 'index')} of phase {whole(event, 'phase')}"
    when = f"attempt {whole(event, 'attempt')}, in {duration(number(event, 'delay_sec'))}"
    error = part(event, "error")
    return f"Retrying {call} ({when}): {text(error, 'message') or text(error, 'type')}"


def _steering(event: Fields) -> str:
    return f"Steered: {text(event, 'message')}"


def _winding_down(event: Fields) -> str:
    cause = _CAUSES.get(text(event, "cause"), text(event, "cause"))
    done = f"{whole(event, 'completed_phases')} of {count(whole(event, 'total_phases'), 'phase')}"
    return f"Stopped, {cause}: {done} done."


def _run_failed(event: Fields) -> str:
    error = part(event, "error")
    return f"The run failed: {text(error, 'message') or text(error, 'type') or 'the server gives no reason'}"


def _run_complete(event: Fields) -> str:
    return f"Done: {count(whole(event, 'phases_completed'), 'phase')} in {duration(number(event, 'duration_sec'))}."


_CAUSES = {
    "steering": "steered to something else",
    "operator_cancel": "cancelled",
    "timeout": "at its time limit",
    "budget": "at its token budget",
}

_LINES: dict[str, Callable[[Fields], str | None]] = {
    "run_start": _run_start,
    "recovered": _recovered,
    "phase_end": _phase_end,
    "indexing": _indexing,
    "sources": _sources,
    "retrying": _retrying,
    "steering": _steering,
    "winding_down": _winding_down,
    "run_failed": _run_failed,
    "run_complete": _run_complete,
}
