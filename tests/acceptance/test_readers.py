"""Other people's clients read a run to its end, as it goes on, from the server and through an nginx."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import orjson
import pytest

from tests.acceptance.client import ResearchClient
from tests.acceptance.nginx import nginx
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.tools import missing, needed
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

READERS = Path(__file__).parent / "readers"
Command = Callable[[str], list[str]]


def _python(script: str) -> Command:
    return lambda url: [sys.executable, str(READERS / script), url]


def _browser(url: str) -> list[str]:
    return [sys.executable, str(READERS / "read_browser.py"), url, needed("chromium")]


def _node(script: str) -> Command:
    return lambda url: [needed("node"), str(READERS / script), url]


COMMANDS: dict[str, Command] = {
    "EventSource": _browser,
    "curl": lambda url: [needed("curl"), "-sN", "--fail", url],
    "httpx2": _python("read_httpx2.py"),
    "httpx": _python("read_httpx.py"),
    "requests": _python("read_requests.py"),
    "eventsource": _node("read_eventsource.mjs"),
    "fetch": _node("read_fetch.mjs"),
}


@pytest.fixture(scope="session")
def node_packages() -> None:
    """What package-lock.json names, installed once."""
    if (READERS / "node_modules" / "eventsource").exists():
        return
    command = [needed("npm"), "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=READERS, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        missing(f"npm ci failed: {done.stderr[-500:]}")


@pytest.fixture(params=["direct", "nginx"])
def address(request: pytest.FixtureRequest, server: ServerProcess, tmp_path: Path) -> Iterator[str]:
    """Where the clients find the server."""
    if request.param == "direct":
        yield server.url
        return
    with nginx(tmp_path / "nginx", server.url) as url:
        yield url


def _data(output: IO[str]) -> Iterator[bytes]:
    """Each event's data: curl prints the frames as they are."""
    for line in output:
        text = line.rstrip("\n").removeprefix("data: ")
        if text.startswith("{"):
            yield text.encode()


@pytest.mark.usefixtures("node_packages")
@pytest.mark.parametrize("reader", COMMANDS)
def test_a_run_is_read_as_it_goes_on_and_to_its_end(
    reader: str, address: str, client: ResearchClient, stub: ModelStub
) -> None:
    stub.hold(after_tokens=5, from_call=2)
    invocation = client.post("Bridges", config={"phases": 1, "calls_per_phase": 2})["invocation_id"]
    command = COMMANDS[reader](f"{address}/invocations/{invocation}")
    env = os.environ | {"NO_PROXY": "*", "no_proxy": "*"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            got = []
            for data in _data(process.stdout):
                got.append(data)
                # Of the call that is held: what buffers would show it only when the run has ended.
                if b'"token"' in data and b'"index":2' in data:
                    stub.release()
            assert process.wait(30) == 0, process.stderr.read()
        finally:
            process.kill()
    numbered = [orjson.loads(data) for data in got if b"sequence_number" in data]
    assert numbered == events(check_invocation(client, invocation))
    assert orjson.loads(got[-1]) == {"type": "done", "invocation_id": invocation, "status": "completed"}
