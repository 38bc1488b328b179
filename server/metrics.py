"""What this process counts and measures, for `GET /metrics`. A registry of its own: nothing is global.

Labels are bounded: states, reasons, roles, routes as they are declared, and models. An id, a topic or the name of a key
is never one. Whatever is on the way of an event holds its label children, so that it pays for one addition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from server.status import Status

if TYPE_CHECKING:
    from server.database import Job

# Names that a client's `config` may bring beside those of the settings, and kinds of errors.
MOST_LABELS: Final = 20
OTHER: Final = "other"

_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_TURN: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_SIZE: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Labels:
    """The values that one label may have: those that are known, and the first few that come besides."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._values = set(known)
        self._most = len(self._values) + MOST_LABELS

    def of(self, value: str) -> str:
        """`value`, or `other` where there are enough already, or it is no name."""
        if value not in self._values:
            if len(self._values) >= self._most or not re.fullmatch(r"[A-Za-z0-9_.:/@-]{1,80}", value):
                return OTHER
            self._values.add(value)
        return value


@dataclass
class Reading:
    """One reader's. Until it is said how it was closed, it was cut: by its client, or on the way there."""

    closed: Literal["done", "gone", "cut", "let_go"] = "cut"


class Metrics:
    """The instruments. `models` are those of the settings. To be used from the event loop, but for `committed`."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.models, self.errors = Labels(models), Labels()
        self._requests()
        self._turns()
        self._model()
        self._events()
        self._database()
        self._leases()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text for a scraper that accepts `accept`, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request's answer has begun."""
        self._http.labels(method, route, str(status)).inc()
        self._http_seconds.labels(method, route).observe(seconds)

    def committed(self, batch: Sequence[Job], seconds: float, *, failed: bool) -> None:
        """The database's writer has done a batch; from its thread."""
        self._commit_seconds.observe(seconds)
        self._commit_size.observe(len(batch))
        if failed:
            self._commit_failures.inc()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Shows `value()` as the gauge `name` whenever somebody looks."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def unfinished(self, counts: dict[str, int] | None) -> None:
        """How many turns the database holds by state; None where it did not answer."""
        self._database_up.set(counts is not None)
        for status, child in self._unfinished.items():
            child.set(float("nan") if counts is None else counts.get(status, 0))

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Counts a reader while the context is open, and then how its stream was closed."""
        reading = Reading()
        self.readers.inc()
        try:
            yield reading
        finally:
            self.readers.dec()
            self.readers_closed[reading.closed].inc()

    def spent(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """A call to a model gave and took so many tokens."""
        name = self.models.of(model)
        self._tokens.labels(name, "input").inc(input_tokens)
        self._tokens.labels(name, "output").inc(output_tokens)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"research_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"research_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"research_{name}", text, labels, registry=self.registry)

    def _requests(self) -> None:
        self._http = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._http_seconds = self._histogram(
            "http_request_duration_seconds", "From a request to where its answer begins.", _QUICK, "method", "route"
        )
        limited = self._counter("requests_limited", "Requests answered 429 here, by the limit that was met.", "limit")
        limits = ("key_rate", "key_turns", "key_streams", "key_uploads", "thread", "server")
        self.limited = {name: limited.labels(name) for name in limits}
        self.connections_refused = self._counter("connections_refused", "Connections beyond what fits here.")

    def _turns(self) -> None:
        accepted = self._counter("turns_accepted", "Turns taken, by what they mean for their thread.", "steering")
        self.accepted = {name: accepted.labels(name) for name in ("new_topic", "guidance", "resume")}
        started = self._counter(
            "turns_started", "Turns that began here; `recovered`: again, behind a crash or a move.", "entry_mode"
        )
        self.started = {name: started.labels(name) for name in ("fresh", "resumed", "recovered")}
        ended = self._counter("turns_ended", "Turns whose end this process wrote.", "status")
        self.ended = {status: ended.labels(status) for status in Status if status.ended}
        self.failed = self._counter("turns_failed", "Turns that failed, by the kind of error.", "error")
        left = self._counter("turns_left", "Turns that this process stopped running without an end.", "how")
        self.left = {how: left.labels(how) for how in ("drained", "storage_failed", "fenced", "broken_off")}
        self.duration = self._histogram("turn_duration_seconds", "From a turn's start to its end.", _TURN, "status")
        self.waited = self._histogram("turn_wait_seconds", "From a turn's POST to its start.", _TURN)
        unfinished = self._gauge("turns_unfinished", "Turns in the database, of all hosts that share it.", "status")
        self._unfinished = {status: unfinished.labels(status) for status in (Status.QUEUED, Status.RUNNING)}
        self.running = self._gauge("turns_running", "Turns that run in this process.")
        self.capacity = self._gauge("turns_capacity", "Turns that may run in this process at once.")

    def _model(self) -> None:
        self._tokens = self._counter("model_tokens", "Tokens that models took and gave.", "model", "direction")
        self.retries = self._counter("model_retries", "Model calls that failed and are tried again.", "error")
        self.provider_limited = self._counter("model_rate_limited", "Answers 429 of model endpoints.")
        self.subcall = self._histogram("subcall_duration_seconds", "Subcalls, retries included.", _CALL, "role")

    def _events(self) -> None:
        self.events = self._counter("events_written", "Events that were committed here.")
        self.commit_lag = self._histogram(
            "event_commit_lag_seconds", "From an event's coming to its commit, of the oldest in each write.", _QUICK
        )
        self.reader_lag = self._histogram(
            "event_reader_lag_seconds", "From a commit to where a waiting reader's connection has taken it.", _QUICK
        )
        self.readers = self._gauge("readers", "Event streams that are open.")
        closed = self._counter("readers_closed", "Event streams that were closed, by how.", "how")
        self.readers_closed = {how: closed.labels(how) for how in ("done", "gone", "cut", "let_go")}

    def _database(self) -> None:
        self._database_up = self._gauge("database_up", "Whether the database answered the last scrape.")
        self._commit_seconds = self._histogram("commit_duration_seconds", "Transactions of the writer.", _QUICK)
        self._commit_size = self._histogram("commit_batch_size", "Writes that share a transaction.", _SIZE)
        self._commit_failures = self._counter("commit_failures", "Transactions that did not reach the disk.")

    def _leases(self) -> None:
        self.fences_lost = self._counter("fences_lost", "Turns given up because a later claim has them.")
        self.lease_lapses = self._counter("lease_lapses", "Times that this worker had to take itself for dead.")
        self.workers_died = self._counter("workers_died", "Workers that this one found dead.")
        self.jobs_put_back = self._counter("jobs_put_back", "Jobs of others that this worker put back to be run.")
