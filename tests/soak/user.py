"""A user of the server: starts, steers, cancels, resumes and reads turns, and deletes threads."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2

from tests.acceptance.client import Json, ResearchClient
from tests.soak.book import Book
from tests.soak.lives import Lives
from tests.soak.turns import FollowedTurn

# What makes the number of checkpoints and reports a steady one.
KEPT_THREADS = 10
# Retention comes every tenth of EVENT_TTL_SEC, and at each start.
EXPIRED_FOR_SEC = 30
FORMATS = {"markdown": 40, "json": 40, "html": 40, "docx": 5, "pdf": 1}
STRATEGIES = ("interrupt", "interrupt", "enqueue", "reject", "rollback")


@dataclass
class Thread:
    """A thread of research, as its user knows it; `ended_at` is in monotonic seconds."""

    id: str
    turns: int = 0
    last: str = ""
    ended_at: float = 0.0


def topic_of(name: str) -> str:
    """The topic of turn `name`: not the name itself, which logs may show, as they may no topic."""
    return f"What is known of {name}"


class User:
    """Visits the server until `stopped` is set, or a promise is broken."""

    def __init__(self, name: str, seed: str, lives: Lives, book: Book, ttl_sec: float) -> None:
        self.name, self.stopped = name, threading.Event()
        self._thread = threading.Thread(target=self._visit_on, name=name, daemon=True)
        self._lives, self._book, self._ttl = lives, book, ttl_sec
        self._chance = random.Random(f"{seed}-{name}")
        self._client = ResearchClient(lives.server.url)
        self._threads: deque[Thread] = deque()
        self._opened = 0
        self._formats_of_life = 0

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Waits until it has seen its last turns end."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.name} hangs"

    def _visit_on(self) -> None:
        with self._client:
            try:
                while not self.stopped.is_set() and self._book.broken is None:
                    self._visit()
                    self.stopped.wait(self._chance.uniform(0, 1))
            except Exception as error:  # noqa: BLE001 - the verdict, whatever it is
                self._book.note_broken(f"{self.name}: {type(error).__name__}: {error}")

    def _visit(self) -> None:
        """One thread's turns, from the first POST to what is read of them at last."""
        thread = self._choose()
        with ExitStack() as stack:
            turn = self._start(thread, stack)
            self._interfere(thread, turn, stack)
        self._afterwards(thread)
        while len(self._threads) > KEPT_THREADS:
            self._delete(self._threads.popleft())

    def _choose(self) -> Thread:
        if self._threads and self._chance.random() < 0.2:
            return self._chance.choice(self._threads)
        self._opened += 1
        self._threads.append(Thread(f"{self.name}-{self._opened}"))
        return self._threads[-1]

    def _start(self, thread: Thread, stack: ExitStack) -> FollowedTurn:
        began, config = time.monotonic(), {"run_timeout_sec": 2} if self._chance.random() < 0.04 else {}
        number = len(self._lives.started)
        turn = self._post(thread, stack, config=config)
        assert turn is not None, f"{thread.id} was at rest, and refused a turn"
        accepted = time.monotonic()
        turn.wait_for_events(1, 20)
        # Those that met a restart say nothing of how fast it is.
        if number == len(self._lives.started) and turn.reader.seen_at and not turn.reader.cuts:
            self._book.took("post", [accepted - began])
            self._book.took("first_event", [turn.reader.seen_at[0] - began])
        return turn

    def _post(self, thread: Thread, stack: ExitStack, **body: object) -> FollowedTurn | None:
        """The turn, or None where the thread was busy and the turn is not to wait."""
        name = self._name(thread)
        answer = self._request(
            "POST",
            "/invocations",
            json={"message": topic_of(name), "thread_id": thread.id, **body},
            headers={"x-agent-invocation-id": name},
        )
        if answer.status_code == 409 and body.get("multitask_strategy") == "reject":
            self._book.count("rejected")
            return None
        return self._follow(answer, name, stack)

    def _name(self, thread: Thread) -> str:
        thread.turns += 1
        return f"{thread.id}.{thread.turns}"

    def _follow(self, answer: httpx2.Response, name: str, stack: ExitStack) -> FollowedTurn:
        assert answer.status_code in (200, 202), f"{name}: {answer.status_code} {answer.text}"
        self._book.count("turns accepted")
        turn = stack.enter_context(FollowedTurn(name, self._client, self._lives, self._book, self._chance))
        turn.invite()
        return turn

    def _interfere(self, thread: Thread, turn: FollowedTurn, stack: ExitStack) -> None:
        """Lets it be, steers it or cancels it, and checks all that comes of it."""
        turns, drawn = [turn], self._chance.random()
        if drawn < 0.5:
            turn.wait_for_events(self._chance.randint(1, 60), 10)
        if drawn < 0.35:
            turns += filter(None, [self._steer(thread, stack) for _ in range(self._chance.choice((1, 1, 2)))])
        elif drawn < 0.5:
            mode = self._chance.choice(("now", "at_checkpoint"))
            self._request("POST", f"/invocations/{turn.name}/cancel", json={"mode": mode} if mode == "now" else {})
            self._book.count(f"cancel {mode}")
        self._read_so_far(turn)
        # A steer goes before turns that were enqueued earlier, so the last one posted need not be the last to run.
        record = max([turn.check() for turn in turns], key=lambda record: record["started_at"] or "")
        while record["status"] in ("failed", "cancelled", "timed_out") and self._chance.random() < 0.7:
            record = self._resume(thread, record, stack)
        thread.last, thread.ended_at = record["invocation_id"], time.monotonic()

    def _steer(self, thread: Thread, stack: ExitStack) -> FollowedTurn | None:
        strategy = self._chance.choice(STRATEGIES)
        steering = self._chance.choice(("new_topic", "guidance"))
        self._book.count(f"steer {strategy}")
        return self._post(thread, stack, multitask_strategy=strategy, steering=steering)

    def _resume(self, thread: Thread, record: Json, stack: ExitStack) -> Json:
        name = self._name(thread)
        self._book.resume(thread.id)
        path = f"/invocations/{record['invocation_id']}/resume"
        answer = self._request("POST", path, headers={"x-agent-invocation-id": name})
        self._book.count("resumes")
        return self._follow(answer, name, stack).check()

    def _read_so_far(self, turn: FollowedTurn) -> None:
        kind = self._chance.choice(("markdown", "json", "html"))
        self._request("GET", f"/invocations/{turn.name}/report", 200, 404, params={"format": kind})

    def _afterwards(self, thread: Thread) -> None:
        """Looks at what is there."""
        for kind in self._formats():
            answer = self._request("GET", f"/invocations/{thread.last}/report", 200, 404, 409, params={"format": kind})
            self._book.count(f"report {kind} {answer.status_code}")
        what = self._chance.random()
        if what < 0.2:
            self._page_through()
        elif what < 0.4:
            self._request("GET", f"/threads/{thread.id}", 200)
        elif what < 0.6:
            self._request("GET", f"/threads/{thread.id}/history", 200, params={"limit": 5})
        elif what < 0.7:
            self._threads.remove(thread)
            self._delete(thread)

    def _formats(self) -> list[str]:
        """All of them once in each life, since the first of a kind loads what it needs."""
        life = len(self._lives.started)
        if life != self._formats_of_life:
            self._formats_of_life = life
            return list(FORMATS)
        return self._chance.choices(list(FORMATS), list(FORMATS.values()))

    def _page_through(self) -> None:
        query: dict[str, str | int] = {"limit": 20}
        while True:
            page = self._request("GET", "/invocations", 200, params=query).json()
            self._book.count("pages")
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _delete(self, thread: Thread) -> None:
        """Erases it; events that are past their time must have gone by then."""
        if thread.last and time.monotonic() - thread.ended_at > self._ttl + EXPIRED_FOR_SEC:
            answer = self._request("GET", f"/invocations/{thread.last}")
            assert answer.status_code == 410, f"the events of {thread.last} are kept too long"
            self._book.count("expired")
        # 404: an answer was lost with the server, and this asks again.
        self._request("DELETE", f"/threads/{thread.id}", 204, 404)
        self._book.count("threads deleted")

    def _request(self, method: str, path: str, *allowed: int, **options: object) -> httpx2.Response:
        answer = self._lives.request(self._client, method, path, **options)
        assert not allowed or answer.status_code in allowed, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer
