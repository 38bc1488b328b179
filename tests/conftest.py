"""The databases that tests run over: SQLite, and PostgreSQL where it can be had.

`--backends=postgres` runs all over that one; without it, what hardly depends on the database runs over SQLite alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import pytest

from tests.postgres_server import MISSING, PostgresServer, binaries

Backend = Literal["sqlite", "postgres"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", help="the databases to test over, with commas [sqlite,postgres]")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): what this tests is of these databases alone")
    config.addinivalue_line("markers", "any_backend: what this tests hardly depends on the database")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        every = "sqlite" if metafunc.definition.get_closest_marker("any_backend") else "sqlite,postgres"
        asked = metafunc.config.getoption("--backends") or every
        metafunc.parametrize("backend", asked.split(","), scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _of_its_backend(item)]


def _of_its_backend(item: pytest.Item) -> bool:
    """Whether a test, or a case of one, is of the database that it was made for."""
    marker, call = item.get_closest_marker("backends"), getattr(item, "callspec", None)
    return marker is None or call is None or call.params.get("backend") in (None, *marker.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if binaries() is None:
        terminalreporter.write_line(f"Not tested over PostgreSQL: {MISSING}.", yellow=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests, but for those that kill it."""
    if binaries() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database_url(backend: Backend, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """An empty database of this test's own; None for SQLite."""
    if backend == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)
