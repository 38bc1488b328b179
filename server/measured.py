"""What the metrics show of a server's parts that stand by themselves, and who hears of its turns."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from server.database import StorageFailed
from server.metrics import Metrics
from server.observing import CountedTurn, LoggedTurn, Observe

if TYPE_CHECKING:
    from server.database import Database
    from server.services import Services
    from server.settings import Settings
    from server.sql import Connection
    from server.traces import Traces

DATABASE_SEC: Final = 2.0


def metrics_of(settings: Settings) -> Metrics:
    """The metrics of a server with these settings."""
    named = (settings.research_model, *settings.role_models.values(), settings.search_model)
    metrics = Metrics(models=[name for name in named if name])
    if settings.role != "api":
        metrics.capacity.set(settings.max_concurrent_runs)
    return metrics


def traces_of(settings: Settings) -> Traces | None:
    """The traces that the settings ask for; loads OpenTelemetry."""
    if not settings.traced:
        return None
    from server.traces import Traces

    return Traces()


def observers_of(metrics: Metrics, traces: Traces | None, now: Callable[[], float]) -> list[Observe]:
    """Who hears of each turn that runs. `now` is Unix seconds."""
    counted: Observe = lambda invocation: CountedTurn(invocation, metrics, now)  # noqa: E731
    return [LoggedTurn, counted, *([traces.turn] if traces else [])]


def watch_database(metrics: Metrics, database: Database) -> None:
    """Measures the database's writer."""
    database.metrics = metrics
    metrics.watch("research_writes_waiting", "Writes that wait for the next transaction.", lambda: database.waiting)


def watch_disk(metrics: Metrics, folder: Path) -> None:
    """Measures the disk that `folder` is on, and what the server has there."""
    metrics.watch("research_disk_size_bytes", "Size of DATA_DIR's disk.", lambda: shutil.disk_usage(folder).total)
    metrics.watch("research_disk_free_bytes", "Free space on DATA_DIR's disk.", lambda: shutil.disk_usage(folder).free)
    metrics.watch("research_data_bytes", "Size of the databases in DATA_DIR.", partial(_size_of, folder))


async def scraped(parts: Services, accept: str) -> tuple[bytes, str]:
    """All metrics as text, and its media type; a database that does not answer is one of the figures."""
    try:
        async with asyncio.timeout(DATABASE_SEC):
            counts = await parts.database.read(_unfinished)
    except (StorageFailed, TimeoutError):
        counts = None
    parts.metrics.unfinished(counts)
    return parts.metrics.exposition(accept)


def _unfinished(connection: Connection) -> dict[str, int]:
    query = "SELECT status, count(*) FROM invocations WHERE status IN ('queued', 'running') GROUP BY status"
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.sqlite*"))
