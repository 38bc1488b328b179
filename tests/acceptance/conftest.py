"""A model stub that each test finds as new, servers over it, each test its own, and a browser."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.acceptance.browser import CHROMIUM, DESKTOP, Looked, chromium
from tests.acceptance.client import ResearchClient
from tests.acceptance.planted import leaks, posted
from tests.acceptance.server_process import Launch, ServerProcess
from tests.acceptance.tools import missing
from tests.acceptance.warm_start import WarmStart
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

SMALL_RUN = {
    "NUM_PHASES": "3",
    "CALLS_PER_PHASE": "2",
    "INTRA_PHASE_COOLDOWN_SEC": "0",
    "INTER_PHASE_COOLDOWN_SEC": "0",
    "LOG_LEVEL": "info",
}


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Shells start what runs in the background with SIGINT ignored, and all that it starts would ignore it too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_planted_is_logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Behind all tests of this process: no log of any server shows a key, a prompt, an answer, a document, a topic."""
    yield
    found = leaks(tmp_path_factory.getbasetemp(), posted)
    assert not found, "\n".join(["logs show what was planted:", *found])


@pytest.fixture(scope="session")
def stub_process() -> Iterator[ModelStub]:
    """One process for all tests: a start costs more than most tests do."""
    with ModelStub() as stub:
        yield stub


@pytest.fixture
def stub(stub_process: ModelStub) -> ModelStub:
    """The stub, knowing nothing of earlier tests: 20 tokens an answer, at once."""
    stub_process.start()
    stub_process.control(reset=True, tokens=20, delay_ms=0)
    return stub_process


@pytest.fixture(scope="session")
def warm_launch() -> Iterator[Launch | None]:
    """How servers are started: forked where the system can, as `python -m server` elsewhere."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    with WarmStart() as warm:
        yield warm.launch


@pytest.fixture
def make_server(
    stub: ModelStub, warm_launch: Launch | None, tmp_path: Path, database_url: str | None
) -> Iterator[MakeServer]:
    """Makes servers over the stub and the test's database; settings by name, as `make_server(NUM_PHASES=2)`.

    They are not started. `cold`: as a user starts them; `namespace`: of the network, to start them in.
    """
    with ExitStack() as stack:

        def make(
            folder: str = "data", *, cold: bool = False, namespace: str | None = None, **settings: object
        ) -> ServerProcess:
            env = {
                **SMALL_RUN,
                "RESEARCH_MODEL": "openai:stub",
                "OPENAI_API_KEY": "sk-planted-secret",
                "OPENAI_BASE_URL": stub.base_url,
                **({"DATABASE_URL": database_url} if database_url else {}),
                **{name: str(value) for name, value in settings.items()},
            }
            command = ("ip", "netns", "exec", namespace, sys.executable, "-m", "server") if namespace else ()
            launch = None if cold or namespace else warm_launch
            server = ServerProcess(tmp_path / folder, env, command=command, launch=launch)
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        missing("chromium is not installed: apt-get install chromium")
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture
def looked(context: BrowserContext, server: ServerProcess) -> Iterator[Looked]:
    """The page of a server over the stub, opened. At the end, nothing may have gone wrong in it."""
    looked = Looked(context)
    looked.page.goto(server.url)
    yield looked
    assert looked.errors == []
