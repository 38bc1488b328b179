"""Several workers over one PostgreSQL on this machine: runs and events a second, and what each costs the database.

`python -m benchmarks.workers` starts a server of its own, with `fsync` on. The model answers at once, so that what is
measured is the work behind it. One line of JSON for each number of workers.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.setting import PACED
from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.openai_stub.process import ModelStub
from tests.postgres_server import PostgresServer

WORKERS, RUNS, TOKENS = (1, 2, 4), 40, 300
SHAPE = {"NUM_PHASES": "3", "CALLS_PER_PHASE": "4"}
CALLS = 12
TABLES = ("events", "invocations", "reports", "checkpoints", "checkpoint_blobs", "checkpoint_writes")


@contextmanager
def hosts(folder: Path, url: str, model: str, workers: int) -> Iterator[ResearchClient]:
    """An api host and workers; the client of the first."""
    env = PACED | SHAPE | {"DATABASE_URL": url, "RESEARCH_MODEL": "openai:stub", "OPENAI_API_KEY": "none"}
    roles = ["api", *["worker"] * workers]
    with ExitStack() as stack:
        made = [
            ServerProcess(folder / f"{number}", env | {"ROLE": role, "OPENAI_BASE_URL": model})
            for number, role in enumerate(roles)
        ]
        for host in made:
            stack.callback(host.kill)
            host.start()
        yield stack.enter_context(ResearchClient(made[0].url, timeout=300))


def measured(server: PostgresServer, stub: ModelStub, workers: int) -> dict[str, Any]:
    """One round: all runs at once, from the first POST to the last end."""
    url = server.new_database()
    with tempfile.TemporaryDirectory() as folder, hosts(Path(folder), url, stub.base_url, workers) as client:
        _all(client, workers * 2)  # each worker has loaded its graph then
        before, began = _counts(url), time.monotonic()
        _all(client, RUNS)
        seconds, counts = time.monotonic() - began, _counts(url)
        connections = _one(url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    spent = {name: counts[name] - before[name] for name in counts}
    return {
        "benchmark": "workers",
        "workers": workers,
        "runs": RUNS,
        "seconds": round(seconds, 2),
        "runs_a_sec": round(RUNS / seconds, 2),
        "tokens_a_sec": round(RUNS * CALLS * TOKENS / seconds),
        "events_a_sec": round(spent["events"] / seconds),
        "transactions_a_sec": round(spent["transactions"] / seconds),
        "events_a_run": round(spent["events"] / RUNS),
        "rows_a_run": round(spent["rows"] / RUNS),
        "wal_bytes_a_run": round(spent["wal"] / RUNS),
        "table_bytes_a_run": round(spent["bytes"] / RUNS),
        "connections": connections - 1,
    }


def _all(client: ResearchClient, count: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda number: client.post(f"How fast is {number}?")["invocation_id"], range(count)))
        ends = list(pool.map(lambda run: client.read_stream(run, timeout=600).closed, runs))
    assert set(ends) == {"done"}


def _counts(url: str) -> dict[str, int]:
    time.sleep(1.1)  # the statistics are written once a second
    relations = ", ".join(f"'{table}'::regclass" for table in TABLES)
    return {
        "events": _one(url, "SELECT count(*) FROM events"),
        "transactions": _one(url, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"),
        "rows": _one(url, "SELECT sum(n_tup_ins + n_tup_upd) FROM pg_stat_user_tables"),
        "wal": _one(url, "SELECT (pg_current_wal_lsn() - '0/0')::bigint"),
        "bytes": _one(url, f"SELECT sum(pg_total_relation_size(t)) FROM unnest(ARRAY[{relations}]) AS t"),
    }


def _one(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


def main() -> None:
    """A new database for each number of workers."""
    with PostgresServer() as server, ModelStub(tokens=TOKENS, at_once=True) as stub:
        for workers in WORKERS:
            print(json.dumps(measured(server, stub, workers)), flush=True)


if __name__ == "__main__":
    main()
