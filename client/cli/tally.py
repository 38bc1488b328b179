"""Where a run stands, by the events that were read of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from client.fields import Fields, moment, number, part, parts, printable, raw, text, whole

CHARACTERS_PER_TOKEN = 4
SPEED_WINDOW_SEC = 3.0
SPEED_STEP_SEC = 0.1
MOST_TEXT = 6_000


@dataclass
class Mean:
    """A running mean."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass
class Tally:
    """Kept up to date by `take`. `clock` is Unix seconds.

    `text` is the end of what the call under way has written; `resume_at` the end of a cooldown, Unix seconds.
    """

    clock: Callable[[], float]
    topic: str = ""
    thread_id: str = ""
    model: str = ""
    total_phases: int = 0
    calls_per_phase: int = 0
    phase: int = 0
    title: str = ""
    role: str = ""
    call: int = 0
    of: int = 0
    attempt: int = 1
    sources: int = 0
    resume_at: float | None = None
    retry_at: float | None = None
    text: str = ""
    _done_in_phase: int = 0
    _tokens_of_ended_calls: int = 0
    _characters: int = 0
    _pieces: deque[tuple[float, int]] = field(default_factory=deque)
    _call_sec: Mean = field(default_factory=Mean)
    _rest_sec: dict[str, Mean] = field(default_factory=lambda: {"intra_phase": Mean(), "inter_phase": Mean()})

    def take(self, event: Fields) -> None:
        """Takes in the next event; of a type that it does not know, nothing."""
        take = _TAKES.get(str(event.get("type")))
        if take is not None:
            take(self, event)

    @property
    def tokens(self) -> int:
        """Output tokens: counted by the model for the calls that ended, estimated for the one that runs."""
        return self._tokens_of_ended_calls + self._characters // CHARACTERS_PER_TOKEN

    @property
    def tokens_per_sec(self) -> float:
        """Over the last three seconds, estimated."""
        now = self.clock()
        while self._pieces and self._pieces[0][0] < now - SPEED_WINDOW_SEC:
            self._pieces.popleft()
        return sum(size for _, size in self._pieces) / CHARACTERS_PER_TOKEN / SPEED_WINDOW_SEC

    @property
    def progress(self) -> float:
        """The part of the plan that is done, 0 to 1."""
        calls = self.total_phases * self.calls_per_phase
        return min(1.0, self._calls_done / calls) if calls else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By the calls and rests so far; None before the first call has ended."""
        if not self._call_sec.count or not self.total_phases:
            return None
        calls = max(0, self.total_phases * self.calls_per_phase - self._calls_done)
        phases = max(0, self.total_phases - max(self.phase, 1))
        rests = self._rest_sec["inter_phase"].value * phases + self._rest_sec["intra_phase"].value * max(
            0, calls - phases - 1
        )
        return self._call_sec.value * calls + rests

    @property
    def rest_left(self) -> float:
        """Seconds that the cooldown or the wait before another attempt still lasts; 0 where there is none."""
        until = self.resume_at or self.retry_at
        return max(0.0, until - self.clock()) if until else 0.0

    @property
    def _calls_done(self) -> int:
        return max(0, self.phase - 1) * self.calls_per_phase + self._done_in_phase

    def _run_start(self, event: Fields) -> None:
        self.topic, self.model = text(event, "topic"), text(event, "model")
        self.thread_id = raw(event, "thread_id")
        self.total_phases, self.calls_per_phase = whole(event, "total_phases"), whole(event, "calls_per_phase")
        self._rest_over()

    def _recovered(self, event: Fields) -> None:
        self.phase = whole(event, "in_progress_phase") or self.phase

    def _phase_start(self, event: Fields) -> None:
        self.phase, self.total_phases = whole(event, "phase"), whole(event, "total")
        self.title, self.role, self._done_in_phase = text(event, "title"), "", 0
        self._rest_over()

    def _sources(self, event: Fields) -> None:
        self.sources += len(parts(event, "items"))

    def _subcall_start(self, event: Fields) -> None:
        """An attempt's text is what comes after its start, so an earlier attempt's is forgotten."""
        self.phase = whole(event, "phase") or self.phase
        self.role, self.call, self.of = text(event, "role"), whole(event, "index"), whole(event, "of")
        self.attempt = whole(event, "attempt")
        self._done_in_phase = max(0, self.call - 1)
        self.text, self._characters = "", 0
        self._rest_over()

    def _token(self, event: Fields) -> None:
        piece = raw(event, "content")
        self._characters += len(piece)
        self._note(len(piece))
        self.text = (self.text + piece)[-MOST_TEXT:]

    def _note(self, characters: int) -> None:
        """Pieces that come together count as one, so that a fast stream costs no more than a slow one."""
        now = self.clock()
        if self._pieces and now - self._pieces[-1][0] < SPEED_STEP_SEC:
            characters += self._pieces[-1][1]
            now = self._pieces.pop()[0]
        self._pieces.append((now, characters))

    def _subcall_end(self, event: Fields) -> None:
        self._tokens_of_ended_calls += whole(part(event, "usage"), "output_tokens")
        self._characters = 0
        self._done_in_phase = whole(event, "index")
        self._call_sec.add(number(event, "duration_sec"))

    def _retrying(self, event: Fields) -> None:
        self.retry_at = self.clock() + number(event, "delay_sec")

    def _cooldown(self, event: Fields) -> None:
        self._rest_sec.get(str(event.get("stage")), Mean()).add(number(event, "duration_sec"))
        until = moment(event, "resume_at")
        self.resume_at = until.timestamp() if until else None

    def _rest_over(self) -> None:
        self.resume_at = self.retry_at = None


_TAKES: dict[str, Callable[[Tally, Fields], None]] = {
    "run_start": Tally._run_start,
    "recovered": Tally._recovered,
    "phase_start": Tally._phase_start,
    "sources": Tally._sources,
    "subcall_start": Tally._subcall_start,
    "token": Tally._token,
    "subcall_end": Tally._subcall_end,
    "retrying": Tally._retrying,
    "cooldown": Tally._cooldown,
}


def tail(value: str, lines: int, columns: int) -> list[str]:
    """The last lines of a text on so narrow a screen, each safe on a terminal."""
    wrapped: list[str] = []
    # Far more than can be shown is never wrapped.
    for line in value[-lines * columns * 2 :].splitlines():
        words = printable(line)
        while len(words) > columns:
            at = words.rfind(" ", 0, columns + 1)
            at = at if at > 0 else columns
            wrapped.append(words[:at])
            words = words[at:].lstrip()
        wrapped.append(words)
    return wrapped[-lines:]
