"""`research demo`: a run is killed, comes back, is steered and reported, with a server of its own, offline."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.text import Text

from client.cli.embedded import Embedded
from client.cli.lines import count, duration
from client.cli.promises import Seen, Verdict, verdicts
from client.cli.report_file import report_path, write_report
from client.cli.session import Session
from client.errors import ClientError
from client.fields import Fields, parts, text, whole
from client.requests import RunConfig
from client.sync_client import ResearchClient

TOPIC = "How does a long-running research agent survive crashes?"
GUIDANCE = "Look above all at what a crash costs"
CONFIG: RunConfig = {
    "phases": 4,
    "calls_per_phase": 3,
    "target_output_tokens": 200,
    "intra_phase_cooldown_sec": 0.3,
    "inter_phase_cooldown_sec": 0.6,
    "model": "offline",
}
KILL_IN_PHASE, STEER_IN_PHASE = 2, 3


def tell_story(session: Session) -> int:
    """The exit code: 0 where every promise was kept, 1 where one was broken."""
    story = Story(Console(file=session.err, highlight=False, markup=False))
    with (
        tempfile.TemporaryDirectory(prefix="research-demo-") as folder,
        story.server(Path(folder), session) as (embedded, client),
    ):
        seen = [story.killed_and_steered(client, embedded), story.guided(client)]
        report = story.report(client, seen[-1].record.invocation_id)
    path = report_path(Path("reports"), TOPIC, seen[-1].record.invocation_id, date.today())
    path.parent.mkdir(exist_ok=True)
    write_report(path, report.encode())
    session.print(str(path))
    return story.judge(seen, report)


@dataclass
class Story:
    """What is told, line by line; `steered_by` is the second turn."""

    console: Console
    began: float = field(default_factory=time.monotonic)
    steered_by: str = ""

    def tell(self, act: str, sentence: str, style: str = "") -> None:
        line = Text(f"{duration(time.monotonic() - self.began):>7}  ", style="dim")
        self.console.print(line.append(f"{act:9}", style="bold").append(sentence, style=style), soft_wrap=True)

    @contextmanager
    def server(self, data: Path, session: Session) -> Iterator[tuple[Embedded, ResearchClient]]:
        # The story is the built-in one, whatever the environment sets.
        environ = {**session.environ, "RESEARCH_MODEL": "offline", "DOCUMENTS_DIR": ""}
        with Embedded(data, None, environ, lambda _: None) as embedded:
            self.tell("server", f"a process of its own ({embedded.pid}), with the built-in model")
            with ResearchClient(embedded.url, sleep=embedded.pause, give_up_after_sec=None) as client:
                yield embedded, client

    def killed_and_steered(self, client: ResearchClient, embedded: Embedded) -> Seen:
        """The first turn, from its start to the steer that ends it."""
        started = client.start(TOPIC, config=CONFIG)
        self.tell("start", f"“{TOPIC}”", "cyan")
        live: list[Fields] = []
        crashes = 0
        for event in client.follow(started.invocation_id):
            live.append(event)
            self.narrate(event)
            if _is_call(event, KILL_IN_PHASE) and not crashes and embedded.pid:
                crashes += 1
                self.tell("kill -9", f"process {embedded.pid}, in the middle of a model call", "red")
                os.kill(embedded.pid, signal.SIGKILL)
            if _is_call(event, STEER_IN_PHASE) and not self.steered_by:
                self.steered_by = client.steer(started.thread_id, GUIDANCE).invocation_id
                self.tell("steer", f"“{GUIDANCE}”", "cyan")
        return self.seen(client, started.invocation_id, live, crashes)

    def guided(self, client: ResearchClient) -> Seen:
        """The second turn, which goes on in the light of the guidance."""
        if not self.steered_by:
            raise ClientError("The run ended before it could be steered.")
        live: list[Fields] = []
        for event in client.follow(self.steered_by):
            live.append(event)
            self.narrate(event)
        return self.seen(client, self.steered_by, live, 0)

    def seen(self, client: ResearchClient, invocation_id: str, live: list[Fields], crashes: int) -> Seen:
        again: list[Fields] = list(client.follow(invocation_id))
        return Seen(live, again, client.get(invocation_id), crashes)

    def report(self, client: ResearchClient, invocation_id: str) -> str:
        report = client.report(invocation_id).markdown
        self.tell("report", f"{len(report.split()):,} words, {count(report.count(chr(10) + '- ['), 'source')} cited")
        return report

    def narrate(self, event: Fields) -> None:
        match event.get("type"):
            case "run_start" if event.get("entry_mode") == "resumed":
                self.tell("goes on", "a second turn on the same thread; finished phases stay")
            case "recovered":
                kept = f"{count(whole(event, 'completed_subcalls'), 'call')} kept"
                self.tell("resumed", f"restarted by itself, at event {event.get('sequence_number')}: {kept}", "green")
            case "sources":
                self.tell("", f"phase {whole(event, 'phase')}: {count(len(parts(event, 'items')), 'source')}")
            case "phase_end":
                self.tell("", f"phase {whole(event, 'phase')} done: {text(event, 'title')}")
            case "winding_down":
                self.tell("", "the first turn ends at its next checkpoint, superseded by the second")

    def judge(self, seen: list[Seen], report: str) -> int:
        shown = [self.show(verdict) for verdict in (*verdicts(seen), *_of_the_steer(seen, report))]
        kept = all(shown)
        self.console.print(
            Text(
                "\nEvery promise was kept." if kept else "\nA promise was broken.",
                style="bold green" if kept else "red",
            )
        )
        return 0 if kept else 1

    def show(self, verdict: Verdict) -> bool:
        mark = Text("      ✓  " if verdict.kept else "      ✗  ", style="green" if verdict.kept else "bold red")
        self.console.print(mark.append(verdict.promise).append(f"  ({verdict.found})", style="dim"), soft_wrap=True)
        return verdict.kept


def _of_the_steer(seen: list[Seen], report: str) -> Iterator[Verdict]:
    first, second = seen
    kept = first.record.phases_completed
    begins = [whole(event, "phase") for event in second.live if event.get("type") in ("phase_start", "subcall_start")]
    yield Verdict("a steer keeps what was found", min(begins, default=0) > kept >= 2, f"{count(kept, 'phase')} kept")
    yield Verdict("the report has it all", GUIDANCE in report and "## Sources" in report, "guidance, sources, 4 phases")


def _is_call(event: Fields, phase: int) -> bool:
    return event.get("type") == "subcall_start" and whole(event, "phase") == phase and whole(event, "index") == 2
