"""A model stub and servers over it, each test its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

SMALL_RUN = {
    "NUM_PHASES": "3",
    "CALLS_PER_PHASE": "2",
    "INTRA_PHASE_COOLDOWN_SEC": "0",
    "INTER_PHASE_COOLDOWN_SEC": "0",
    "LOG_LEVEL": "info",
}


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub(tokens=20, delay_ms=0) as stub:
        yield stub


@pytest.fixture
def make_server(stub: ModelStub, tmp_path: Path) -> Iterator[MakeServer]:
    """Makes servers over the stub; settings by name, as `make_server(NUM_PHASES=2)`. Not started."""
    with ExitStack() as stack:

        def make(folder: str = "data", **settings: object) -> ServerProcess:
            env = {
                **SMALL_RUN,
                "RESEARCH_MODEL": "openai:stub",
                "OPENAI_API_KEY": "sk-planted-secret",
                "OPENAI_BASE_URL": stub.base_url,
                **{name: str(value) for name, value in settings.items()},
            }
            server = ServerProcess(tmp_path / folder, env)
            stack.callback(server.kill)
            return server

        yield make


@pytest.fixture
def server(make_server: MakeServer) -> ServerProcess:
    """A started server: three phases of two calls, no cooldowns."""
    server = make_server()
    server.start()
    return server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[ResearchClient]:
    with ResearchClient(server.url) as client:
        yield client
