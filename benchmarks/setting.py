"""A model stub, a server over it in a folder of its own, and a client: what every benchmark starts with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.openai_stub.process import ModelStub

PACED = {"INTRA_PHASE_COOLDOWN_SEC": "0", "INTER_PHASE_COOLDOWN_SEC": "0", "LOG_LEVEL": "warning"}


@contextmanager
def server_over_stub(
    *, tokens: int = 300, delay_ms: float = 0, at_once: bool = False, timed: bool = False, **settings: object
) -> Iterator[tuple[ServerProcess, ResearchClient, ModelStub]]:
    """A started server with `settings` as its environment, over a stub of `tokens` a call, `delay_ms` a token."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelStub(tokens=tokens, delay_ms=delay_ms, at_once=at_once, timed=timed) as stub,
    ):
        model = {"RESEARCH_MODEL": "openai:stub", "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": stub.base_url}
        env = PACED | model | {name: str(value) for name, value in settings.items()}
        with ServerProcess(Path(folder) / "data", env) as server, ResearchClient(server.url, timeout=120) as client:
            yield server, client, stub
