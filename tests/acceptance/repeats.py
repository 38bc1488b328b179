"""How many model calls were made again that nobody had to make again: E3, by the stream and by what the model saw."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from tests.acceptance.client import Frame
from tests.acceptance.transcript import BrokenPromise, events
from tests.openai_stub.model import Call

RECENT = 2000


def check_repeats(frames: Sequence[Frame]) -> None:
    """Each crash made one subcall start again at most; those that a failing model makes again do not count."""
    repeated, retried = 0, set[tuple[int, int]]()
    for event in events(frames):
        key = event.get("phase", 0), event.get("index", 0)
        if event["type"] == "recovered":
            repeated = 0
        elif event["type"] == "retrying":
            retried.add(key)
        elif event["type"] == "subcall_start" and key in retried:
            retried.discard(key)
        elif event["type"] == "subcall_start" and event["attempt"] > 1:
            repeated += 1
            if repeated > 1:
                raise BrokenPromise("E3", event["sequence_number"], "a crash repeated a second subcall")


class Repeats:
    """Prompts that the model got again, though it had not failed, by the life of the server and by the run.

    `run_of` names the run, or the thread, that a call is for.
    """

    def __init__(self, run_of: Callable[[Call], str]) -> None:
        self._run_of = run_of
        self._failed: dict[str, bool] = {}  # by prompt, of its last call
        self._repeated: Counter[tuple[int, str]] = Counter()
        self._recent: deque[tuple[str, str]] = deque(maxlen=RECENT)

    def take(self, calls: Iterable[Call], lives: Sequence[float]) -> None:
        """Counts further calls, in their order; `lives` are the monotonic seconds at which the server was started."""
        for call in calls:
            life = sum(began <= call.started_monotonic for began in lives)
            if not self._failed.get(call.prompt, True):
                self._repeated[life, self._run_of(call)] += 1
            self._failed[call.prompt] = call.fault != "ok"
            self._recent.append((self._run_of(call), f"{life}: {call.number} {call.prompt[:8]} {call.fault}"))

    def recent(self, run: str) -> list[str]:
        """Its last calls, each as `life: number prompt fault`."""
        return [told for name, told in self._recent if name == run]

    def most(self, allowed: Counter[str] | None = None) -> tuple[int, str]:
        """The most that one life repeated of one run, beyond what is `allowed` for that run in all; and the run."""
        free = allowed or Counter[str]()
        return max(((count - free[run], run) for (_, run), count in self._repeated.items()), default=(0, ""))
