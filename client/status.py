"""What the run is doing now, as one line."""

from __future__ import annotations

from client.event import Event, number, part, text, whole
from client.lines import count, duration
from client.screen import fit

_BAR_CELLS = 12
_CHARACTERS_PER_TOKEN = 4
_SHORTEST_TITLE = 8


class Status:
    """Kept up to date by the events."""

    def __init__(self) -> None:
        self._phase = 0
        self._total = 0
        self._title = ""
        self._doing = "starting"
        self._calls_done = 0.0
        self._tokens_of_ended_calls = 0
        self._characters_of_this_call = 0

    @property
    def tokens(self) -> int:
        """Output tokens: counted by the model for the calls that ended, estimated for the one that runs."""
        return self._tokens_of_ended_calls + self._characters_of_this_call // _CHARACTERS_PER_TOKEN

    def take(self, event: Event) -> None:
        match event.get("type"):
            case "run_start":
                self._total = whole(event, "total_phases")
            case "phase_start":
                self._start_phase(event)
            case "subcall_start":
                self._start_subcall(event)
            case "token":
                self._characters_of_this_call += len(str(event.get("content", "")))
            case "subcall_end":
                self._end_subcall(event)
            case "cooldown":
                self._doing = f"cooldown {duration(number(event, 'duration_sec'))}"

    def line(self, columns: int) -> str:
        """Where it is too long, the title is cut first."""
        if not self._phase:
            return self._doing
        head = f"phase {self._phase} of {self._total} [{self._bar()}] "
        tail = f" - {self._doing}, {count(self.tokens, 'token')}"
        return f"{head}{fit(self._title, max(_SHORTEST_TITLE, columns - len(head) - len(tail)))}{tail}"

    def _start_phase(self, event: Event) -> None:
        self._phase, self._total = whole(event, "phase"), whole(event, "total")
        self._title = text(event, "title")
        self._doing, self._calls_done = "starting", 0.0

    def _start_subcall(self, event: Event) -> None:
        """An attempt's text is what comes after its start, so an earlier attempt's is forgotten."""
        index, of = whole(event, "index"), whole(event, "of")
        self._doing = f"{text(event, 'role')}, call {index} of {of}"
        self._calls_done = (index - 1) / of if of else 0.0
        self._characters_of_this_call = 0

    def _end_subcall(self, event: Event) -> None:
        self._tokens_of_ended_calls += whole(part(event, "usage"), "output_tokens")
        self._characters_of_this_call = 0
        self._calls_done = whole(event, "index") / (whole(event, "of") or 1)

    def _bar(self) -> str:
        done = (self._phase - 1 + self._calls_done) / self._total if self._total else 0.0
        filled = round(_BAR_CELLS * min(1.0, max(0.0, done)))
        return "#" * filled + "." * (_BAR_CELLS - filled)
