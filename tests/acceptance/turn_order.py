"""The order of a turn's events: what may come after what, by E2, E3 and "Events" of protocol.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.acceptance.client import Json
from tests.acceptance.event_shapes import FIELDS

SubcallKey = tuple[int, int]  # phase, index
FIXED_FOR_A_TURN = ("topic", "thread_id", "invocation_id", "total_phases", "calls_per_phase")


class BrokenPromise(AssertionError):
    """A promise of protocol.md is broken; the message names it and the event."""

    def __init__(self, promise: str, number: int | str, sentence: str) -> None:
        super().__init__(f"{promise}, event {number}: {sentence}")


@dataclass
class Subcall:
    """Where a subcall is. `recovered`, `retrying`: may start again; `completing`: its text goes on behind a crash."""

    role: str
    attempt: int
    state: Literal["streaming", "retrying", "recovered", "completing", "ended"] = "streaming"


class Turn:
    """A turn as far as its events tell it. `start` and `terminal` are its first run_start and its last event.

    A resumed turn may begin with a later phase, inside of one, or at the report. One that never ran has no run_start.
    """

    def __init__(self) -> None:
        self.start: Json | None = None
        self.terminal: Json | None = None
        self._number = 0
        self._recovering = False
        self._title: str | None = None  # of the open phase
        self._open = False
        self._first_phase = self._phase = self._index = self._phases_ended = 0
        self._subcalls: dict[SubcallKey, Subcall] = {}
        self._steers: list[str] = []

    def take(self, event: Json) -> None:
        """The next event, its fields checked already. Raises `BrokenPromise`."""
        kind, self._number = event["type"], event["sequence_number"]
        self._require(self.terminal is None, "E2", f"{kind} comes behind the last event")
        # A steer may be taken at any moment; its event then stands between the two.
        fits = self._recovering == (kind == "recovered") or kind == "steering"
        self._require(fits, "Events", f"{kind}, but `recovered` follows a later run_start, and nothing but a steer")
        started = self.start is not None or kind in ("run_start", "steering", "winding_down")
        self._require(started, "Events", f"{kind} comes before run_start")
        if kind in FIELDS:
            getattr(self, f"_{kind}")(event)

    def _require(self, kept: bool, promise: str, sentence: str) -> None:
        if not kept:
            raise BrokenPromise(promise, self._number, sentence)

    @property
    def _resumed(self) -> bool:
        return self.start is not None and self.start["entry_mode"] == "resumed"

    def _run_start(self, event: Json) -> None:
        mode = event["entry_mode"]
        if self.start is None:
            self._require(self._number == 1, "Events", "run_start is not the first event")
            self._require(mode != "recovered", "Events", "the first run_start is `recovered`")
            self.start = event
            return
        self._require(mode == "recovered", "Events", f"a later run_start is `{mode}`")
        changed = [name for name in FIXED_FOR_A_TURN if event[name] != self.start[name]]
        self._require(not changed, "Events", f"a later run_start has another {', '.join(changed)}")
        self._recovering = True

    def _recovered(self, event: Json) -> None:
        self._recovering = False
        self._check_total(event["total_phases"])
        self._require(
            event["completed_phases"] >= self._phases_ended, "E2", "fewer phases are complete than have ended"
        )
        for subcall in self._subcalls.values():
            if subcall.state == "streaming":
                subcall.state = "recovered"

    def _check_total(self, total: int) -> None:
        if self.start:
            self._require(total == self.start["total_phases"], "Events", f"{total} phases, not as in run_start")

    def _phase_start(self, event: Json) -> None:
        phase = event["phase"]
        self._check_total(event["total"])
        self._require(phase > self._phase, "E2", f"phase_start of phase {phase} comes again, or too late")
        self._require(not self._open, "Events", f"phase {phase} starts before phase {self._phase} has ended")
        anywhere = self._resumed and not self._first_phase
        self._require(anywhere or phase == self._phase + 1, "Events", f"phase {phase} comes behind {self._phase}")
        self._require(phase <= event["total"], "Events", f"phase {phase} of {event['total']}")
        self._enter(phase, event["title"])

    def _enter(self, phase: int, title: str | None) -> None:
        self._first_phase = self._first_phase or phase
        self._phase, self._index, self._open, self._title = phase, 0, True, title

    def _indexing(self, event: Json) -> None:
        """Documents are read for the phase that is open."""
        self._require(self._open and event["phase"] == self._phase, "Events", "indexing outside of its phase")

    def _phase_end(self, event: Json) -> None:
        phase = event["phase"]
        self._check_total(event["total"])
        self._require(self._open and phase == self._phase, "E2", f"phase_end of phase {phase}, which is not open")
        self._require(self._title in (None, event["title"]), "Events", f"phase {phase} ends with another title")
        last = self._subcalls.get((phase, self._index))
        complete = last is not None and last.state == "ended" and self._index == self._calls
        self._require(complete, "E2", f"phase {phase} ends before all {self._calls} of its subcalls have")
        self._open = False
        self._phases_ended += 1

    @property
    def _calls(self) -> int:
        return int(self.start["calls_per_phase"]) if self.start else 0

    def _subcall_start(self, event: Json) -> None:
        key = event["phase"], event["index"]
        if self._resumed and not self._first_phase and event["index"] > 1:
            self._enter(event["phase"], None)
        self._check_of(event)
        known = self._subcalls.get(key)
        if known:
            self._start_again(known, event)
        else:
            self._start_new(event)
        self._subcalls[key] = Subcall(event["role"], event["attempt"])

    def _check_of(self, event: Json) -> None:
        where = f"subcall {event['index']} of phase {event['phase']}"
        self._require(event["of"] == self._calls, "Events", f"{where}: `of` is {event['of']}, not as in run_start")
        self._require(event["index"] <= event["of"], "Events", f"{where}: there are only {event['of']}")
        self._require(self._open and event["phase"] == self._phase, "E2", f"{where}: its phase is not open")

    def _start_again(self, known: Subcall, event: Json) -> None:
        where = f"subcall {event['index']} of phase {event['phase']}"
        self._require(known.state != "ended", "E2", f"{where} starts after its subcall_end")
        allowed = known.state in ("recovered", "retrying")
        self._require(allowed, "E3", f"{where} starts again without `recovered` or `retrying`")
        one_higher = event["attempt"] == known.attempt + 1
        self._require(one_higher, "E3", f"{where}: attempt {event['attempt']} comes behind {known.attempt}")
        self._require(event["role"] == known.role, "Events", f"{where} has another role")

    def _start_new(self, event: Json) -> None:
        where = f"subcall {event['index']} of phase {event['phase']}"
        before = self._subcalls.get((self._phase, self._index))
        self._require(before is None or before.state == "ended", "E2", f"{where} starts before the one before it ended")
        anywhere = self._resumed and self._phase == self._first_phase and self._index == 0
        self._require(anywhere or event["index"] == self._index + 1, "Events", f"{where} comes behind {self._index}")
        first = self._resumed or event["attempt"] == 1
        self._require(first, "E3", f"{where} starts first with attempt {event['attempt']}")
        self._index = event["index"]

    def _running(self, event: Json, what: str) -> Subcall:
        subcall = self._subcalls.get((event["phase"], event["index"]))
        where = f"{what} of subcall {event['index']} of phase {event['phase']}"
        if subcall is None:
            raise BrokenPromise("E3", self._number, f"{where}, which has not started")
        promise = "E2" if what == "subcall_end" else "E3"
        self._require(subcall.state != "ended", promise, f"{where}, which has ended")
        self._require(subcall.state != "retrying", "E3", f"{where}, which has to start again first")
        return subcall

    def _token(self, event: Json) -> None:
        subcall = self._running(event, "token")
        if subcall.state == "recovered":
            subcall.state = "completing"

    def _subcall_end(self, event: Json) -> None:
        subcall = self._running(event, "subcall_end")
        self._check_of(event)
        same = (event["role"], event["attempt"]) == (subcall.role, subcall.attempt)
        self._require(same, "Events", "role or attempt of subcall_end differs from its subcall_start")
        subcall.state = "ended"

    def _retrying(self, event: Json) -> None:
        subcall = self._running(event, "retrying")
        fits = event["role"] == subcall.role and event["attempt"] in (subcall.attempt, subcall.attempt + 1)
        self._require(fits, "Events", "role or attempt of retrying differs from its subcall_start")
        self._require(subcall.state != "completing", "E3", "a subcall that was committed is retried")
        subcall.state = "retrying"

    def _cooldown(self, event: Json) -> None:
        self._check_total(event["total"])
        self._require(event["phase"] <= event["total"], "Events", f"a cooldown in phase {event['phase']}")
        resting = all(subcall.state == "ended" for subcall in self._subcalls.values())
        self._require(resting, "Events", "a cooldown while a subcall runs")
        if not self._first_phase:
            return
        if event["stage"] == "inter_phase":
            self._require(not self._open, "Events", f"a cooldown between phases while phase {self._phase} is open")
        else:
            here = self._open and event["phase"] == self._phase and event["of"] == self._calls
            self._require(here, "Events", "a cooldown inside a phase that is not open")
            self._require(event["subcall"] == self._index + 1, "Events", f"subcall {event['subcall']} comes not next")

    def _sources(self, event: Json) -> None:
        total = self.start["total_phases"] if self.start else 0
        self._require(event["phase"] <= total, "Events", f"sources of phase {event['phase']} of {total}")

    def _steering(self, event: Json) -> None:
        self._steers.append(event["multitask_strategy"])

    def _winding_down(self, event: Json) -> None:
        self._check_total(event["total_phases"])
        steered = event["cause"] != "steering" or self.start is None or bool(self._steers)
        self._require(steered, "Events", "winding_down by a steer that no `steering` has told")
        if "rollback" not in self._steers:  # the thread goes back to where the turn began, so its count is silent
            self._check_completed(event["completed_phases"])
        self.terminal = event

    def _run_failed(self, event: Json) -> None:
        self._check_completed(event["completed_phases"])
        self.terminal = event

    def _check_completed(self, completed: int) -> None:
        before = max(self._first_phase - 1, 0)
        counts = {self._phases_ended, before + self._phases_ended}
        unknown = self.start is None or (self._resumed and not self._first_phase)
        self._require(unknown or completed in counts, "E2", f"{completed} phases complete, {self._phases_ended} ended")

    def _run_complete(self, event: Json) -> None:
        total = self.start["total_phases"] if self.start else 0
        self._require(not self._open, "E2", f"complete, but phase {self._phase} has not ended")
        last = total if self._resumed and not self._first_phase else self._phase
        self._require(last == total, "E2", f"complete behind phase {last} of {total}")
        completed = event["phases_completed"]
        self._require(completed == total, "Events", f"phases_completed is {completed} of {total}")
        self.terminal = event
