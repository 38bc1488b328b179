"""The boundary events of a turn, made from its committed state alone, so that the same code heals after a crash."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from graph.clock import elapsed, iso
from graph.events import Event
from graph.seen import Seen
from graph.state import Finding, Pause, SourceList, State
from graph.usage import Spent, spent_of_turn, total


class Boundaries:
    """What a stream is to show of the committed state, and shows not yet. `calls` is the number of calls a phase."""

    def __init__(self, seen: Seen, calls: int) -> None:
        self._seen = seen
        self._calls = calls
        self._findings = 0
        self._sources = 0

    def live(self, event: Event) -> Iterator[Event]:
        """An event that a node told of while it ran, with its attempt counted over crashes and retries."""
        if event["type"] == "subcall_start":
            event = {**event, "attempt": self._seen.next_attempt(event["phase"], event["index"])}
        elif event["type"] == "retrying":
            event = {**event, "attempt": self._seen.attempt}
        yield from self._once(event)

    def committed(self, state: State, checkpoint_id: str, following: Collection[str]) -> Iterator[Event]:
        """The events that the state of a checkpoint implies; `following` are the nodes that come next."""
        turn = state.get("turn")
        sources, findings = state.get("sources", []), state.get("findings", [])
        entered = [entry for entry in sources[self._sources :] if entry["turn"] == turn]
        finished = [finding for finding in findings[self._findings :] if finding["turn"] == turn]
        self._sources, self._findings = len(sources), len(findings)
        plan = state.get("plan", [])
        for finding in finished:
            while entered and entered[0]["phase"] <= finding["phase"]:
                yield from self._phase_entered(entered.pop(0), plan)
            yield from self._subcall_ended(finding, checkpoint_id)
            if finding["index"] == self._calls:
                yield from self._once(_phase_end(finding, plan, spent_of_turn(state)))
        for entry in entered:
            yield from self._phase_entered(entry, plan)
        if "cooldown" in following and (pause := state.get("cooldown")):
            yield from self._once(_cooldown(pause, len(plan), self._calls))

    def _once(self, event: Event) -> Iterator[Event]:
        if not self._seen.knows(event):
            self._seen.note(event)
            yield event

    def _phase_entered(self, entry: SourceList, plan: list[str]) -> Iterator[Event]:
        phase = entry["phase"]
        yield from self._once({"type": "phase_start", "phase": phase, "total": len(plan), "title": plan[phase - 1]})
        searches = entry.get("searches", [])
        yield from self._once(
            {"type": "sources", "phase": phase, "items": entry["items"], "searches": searches, **_spent(entry)}
        )

    def _subcall_ended(self, finding: Finding, checkpoint_id: str) -> Iterator[Event]:
        where = {"phase": finding["phase"], "role": finding["role"], "index": finding["index"], "of": self._calls}
        end: Event = {"type": "subcall_end", **where}
        if self._seen.knows(end):
            return
        yield from self._text_completed(finding, where)
        yield from self._once(
            end
            | {
                "attempt": self._seen.attempt,
                "duration_sec": elapsed(finding["started_at"], finding["ended_at"]),
                "usage": finding["usage"],
                "model": finding["model"],
                "checkpoint_id": checkpoint_id,
            }
        )

    def _text_completed(self, finding: Finding, where: Event) -> Iterator[Event]:
        """What of a committed subcall's text the stream does not show: a crash may come between the two writes."""
        phase, index, text = finding["phase"], finding["index"], finding["text"]
        shown = "".join(self._seen.text)
        if self._seen.subcall != (phase, index) or not text.startswith(shown):
            shown = ""
            attempt = self._seen.next_attempt(phase, index)
            yield from self._once({"type": "subcall_start", **where, "attempt": attempt})
        if rest := text[len(shown) :]:
            yield from self._once({"type": "token", "content": rest, "phase": phase, "index": index})


def _spent(entry: SourceList) -> Event:
    return {"spent": entry["spent"]} if entry.get("spent") else {}


def _phase_end(finding: Finding, plan: list[str], spent: list[Spent]) -> Event:
    return {
        "type": "phase_end",
        "phase": finding["phase"],
        "total": len(plan),
        "title": plan[finding["phase"] - 1],
        "duration_sec": elapsed(finding["phase_started_at"], finding["ended_at"]),
        "usage": total(row for row in spent if row["phase"] == finding["phase"]),
    }


def _cooldown(pause: Pause, total: int, of: int) -> Event:
    event: Event = {
        "type": "cooldown",
        "duration_sec": pause["duration_sec"],
        "stage": pause["stage"],
        "phase": pause["phase"],
        "total": total,
        "resume_at": iso(pause["resume_at"]),
    }
    return event | {"subcall": pause["subcall"], "of": of} if pause["stage"] == "intra_phase" else event
