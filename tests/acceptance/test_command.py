"""The command `research` as people use it: real processes, the built-in model, a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import CHECKOUT, INHERITED, ServerProcess
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.any_backend

MakeServer = Callable[..., ServerProcess]

QUICK = {
    "NUM_PHASES": "2",
    "CALLS_PER_PHASE": "2",
    "TARGET_OUTPUT_TOKENS": "100",
    "INTRA_PHASE_COOLDOWN_SEC": "0.01",
    "INTER_PHASE_COOLDOWN_SEC": "0.01",
}
SLOW = {**QUICK, "INTRA_PHASE_COOLDOWN_SEC": "2"}


class Research:
    """The command in a folder of its own, with nothing remembered."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        # Port 1: no server of this machine is found by chance.
        own = {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(CHECKOUT), "PORT": "1"}
        self.folder, self.env = folder, {**inherited, **own, **settings}

    def popen(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "client", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=stderr, text=True
        )

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Its stdout and stderr; any other exit code is an AssertionError."""
        with self.popen(*arguments) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{process.returncode}:\n{out}\n{err}"
        return out, err


@pytest.fixture
def research(tmp_path: Path) -> Research:
    return Research(tmp_path, QUICK)


def test_a_run_and_what_comes_after_it(research: Research) -> None:
    out, err = research("run", "How do agents survive crashes?")
    assert (research.folder / out.strip()).read_text().startswith("# Research report: How do agents survive crashes?")
    assert err.splitlines()[-1].startswith("Done: 2 phases in ")
    assert "status:        completed" in research("status")[0]
    assert research("list")[0].split()[2:4] == ["completed", "2/2"]
    assert research("report")[0] == (research.folder / out.strip()).read_text()
    (record,) = map(json.loads, research("status", "--json")[0].splitlines())
    assert json.loads(research("list", "--json")[0])["invocation_id"] == record["invocation_id"]
    assert "not remembered" not in research("attach", "--invocation", record["invocation_id"])[1]


def test_a_run_with_documents_of_its_own(research: Research) -> None:
    (research.folder / "tides.md").write_text("# Tides\n\nThe moon raises the tides of the sea twice on every day.\n")
    out, err = research("run", "What raises the tides?", "--document", "tides.md")
    assert "Uploaded tides.md: 1 passage.\n" in err
    assert "/tides.md" in (research.folder / out.strip()).read_text()
    assert "no.md" in research("run", "Tides", "--document", "no.md", code=2)[1]


def test_ctrl_c_detaches_and_attach_comes_back(research: Research) -> None:
    research.env.update(SLOW)
    with research.popen("run", "Bridges") as process:
        assert process.stderr is not None
        while "Phase 1: " not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    (invocation,) = re.findall(r"The run (inv_\w+) is saved: `python -m client attach` comes back", err)
    research.env.update(QUICK)
    out, _ = research("attach", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["sequence_number"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["invocation_id"] == invocation
    assert events[-1]["type"] == "run_complete"


def test_another_terminal_steers_and_kills_the_embedded_server(research: Research) -> None:
    research.env.update(SLOW)
    with research.popen("run", "Bridges") as process:
        assert process.stderr is not None
        while "Phase 1: " not in (line := process.stderr.readline()):
            assert line
        assert "Killed the embedded server" in research("crash")[1]
        while "Recovered: " not in (line := process.stderr.readline()):
            assert line
        steered = research("steer", "--detach", "Only steel")[0].strip()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert f"Superseded by {steered}" in err
    out, _ = research("attach")
    assert "Only steel" in (research.folder / out.strip()).read_text()


def test_on_a_running_server(make_server: MakeServer, research: Research, stub: ModelStub) -> None:
    server = make_server()
    server.start()
    research.env["RESEARCH_SERVER"] = server.url
    stub.hold(after_tokens=2)
    first = research("start", "Bridges")[0].strip()
    stub.wait_for_calls(1, state="held")
    assert "status:        cancelled" in research("cancel", "--now")[0]
    stub.release()
    out, err = research("resume")
    assert "Done: 3 phases" in err
    assert out.startswith("reports/")
    assert research("open", "--invocation", first)[0].strip() == f"{server.url}/#/runs/{first}"
    assert "is no demonstration" in research("crash", code=2)[1]
    with ResearchClient(server.url) as client:
        for record in client.request("GET", "/invocations").json()["invocations"]:
            check_invocation(client, record["invocation_id"])


def test_crash_on_a_server_for_demonstrations(make_server: MakeServer, research: Research) -> None:
    server = make_server(DEMO_MODE=1)
    server.start()
    research("crash", "--server", server.url)
    assert server.wait_for_exit() == 137


def test_doctor(research: Research) -> None:
    out, err = research("doctor")
    assert "All is well." in err
    assert "Server: none is running" in out
    research.env.update({"NUM_PHASES": "many", "OPENAI_API_KEY": "sk-planted"})
    out, err = research("doctor", code=2)
    assert "NUM_PHASES" in out
    assert "sk-planted" not in out + err


def test_doctor_looks_at_the_database(research: Research) -> None:
    file = research.folder / "data" / "server.sqlite"
    assert "Database: SQLite, made at the first start" in research("doctor")[0]
    file.parent.mkdir(exist_ok=True)
    for version, said in ((1, "schema 1, brought up to"), (999, "start the newer server")):
        with closing(sqlite3.connect(file)) as database:
            database.execute(f"PRAGMA user_version = {version}")
        assert said in research("doctor", code=2 if version == 999 else 0)[0]
    file.write_bytes(b"no database" * 100)
    assert "!!  Database: " in research("doctor", code=2)[0]
    research.env["DATABASE_URL"] = "postgresql://postgres:planted@127.0.0.1:1/none"
    out, err = research("doctor", code=2)
    assert "PostgreSQL does not answer" in out
    assert "planted" not in out + err


def test_doctor_asks_the_model_s_endpoint(research: Research, stub: ModelStub) -> None:
    research.env.update(
        {"RESEARCH_MODEL": "openai:stub", "OPENAI_API_KEY": "sk-planted", "OPENAI_BASE_URL": stub.base_url}
    )
    assert "ok  Model: openai:stub at " in research("doctor")[0]
    research.env["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
    assert "cannot be reached" in research("doctor", code=2)[0]


def test_the_demo_tells_the_whole_story_and_every_promise_is_kept(research: Research) -> None:
    out, err = research("demo")
    for act in ("start", "kill -9", "resumed", "steer", "goes on", "report"):
        assert re.search(rf" s +{act} ", err), f"no {act} in\n{err}"
    assert err.count("✓") == 7
    assert "✗" not in err
    assert err.rstrip().endswith("Every promise was kept.")
    assert (research.folder / out.strip()).exists()


def test_a_terminal_sees_it_live(research: Research) -> None:
    research.env.update({"INTRA_PHASE_COOLDOWN_SEC": "0.6", "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
    main_end, terminal = pty.openpty()
    with research.popen("run", "Bridges", stderr=terminal) as process:
        os.close(terminal)
        screen = _read_all(main_end, process)
    os.close(main_end)
    assert process.returncode == 0
    assert "phase 1 of 2" in screen
    assert "cooldown, 0." in screen
    assert "Phase 2 of 2 done" in screen
    assert "\x1b[?25h" in screen, "the cursor was not given back"


def _read_all(end: int, process: subprocess.Popen[str]) -> str:
    seen = b""
    while True:
        ready, _, _ = select.select([end], [], [], 60)
        assert ready or process.poll() is not None, seen.decode()
        try:
            piece = os.read(end, 65536) if ready else b""
        except OSError:  # The other end is closed.
            piece = b""
        if not piece:
            break
        seen += piece
    process.wait(timeout=60)
    return seen.decode("utf-8", "replace")
