"""The command `research`: its results, its exit codes, and its server's life, with a fake server."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.cli import server_process
from client.cli.app import DEFAULT_TOPIC, main, topic_of
from client.cli.embedded import server_environment
from client.cli.report_file import report_path, slug, write_report
from client.cli.server_process import ServerProcess

TODAY = date(2026, 11, 23)
INVOCATION = "inv_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("Owls of the North?", "owls-of-the-north"),
        ("../../etc/passwd", "etc-passwd"),
        ("/", "research"),
        ("..", "research"),
        ("a\0b\nc\x1b[2Jd", "a-b-c-2jd"),
        ("C:\\x|y*z", "c-x-y-z"),
        ("研究とは何か", "研究とは何か"),
        ("\u202egnp.md", "gnp-md"),
        ("w" * 300, "w" * 80),
        ("é" * 300, "é" * 40),
        ("", "research"),
    ],
)
def test_slug(topic: str, expected: str) -> None:
    assert slug(topic) == expected


@given(st.text())
def test_a_slug_is_always_one_short_file_name(topic: str) -> None:
    path = report_path(Path("reports"), topic_of(topic), INVOCATION, TODAY)
    assert path.parent == Path("reports")
    assert path.name.startswith("2026-11-23-")
    assert path.name.endswith("-abcdef.md")
    assert len(path.name.encode()) <= 120
    assert not any(c.isspace() or c in "/\\\0" for c in path.name)


def test_a_hostile_invocation_id_stays_in_the_folder() -> None:
    assert report_path(Path("r"), "Owls", "/../../x", TODAY) == Path("r/2026-11-23-owls-x.md")


def test_the_report_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.md"
    write_report(path, b"old")

    def no_space(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_report(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("report.md", b"old")]


@pytest.mark.parametrize(
    ("given", "topic"),
    [("", DEFAULT_TOPIC), (" \n\t", DEFAULT_TOPIC), (" Owls ", "Owls"), ("a\udcff", "a?")],
)
def test_topic(given: str, topic: str) -> None:
    assert topic_of(given) == topic


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    environ = {"LOG_LEVEL": "debug", "INTRA_PHASE_COOLDOWN_SEC": "9", "INTER_PHASE_COOLDOWN_SEC": ""}
    assert server_environment(tmp_path / "d", None, environ) == {
        "LOG_LEVEL": "debug",
        "INTRA_PHASE_COOLDOWN_SEC": "9",
        "INTER_PHASE_COOLDOWN_SEC": "0.3",
        "DATA_DIR": str(tmp_path / "d"),
    }
    assert server_environment(tmp_path, tmp_path / "docs", {})["DOCUMENTS_DIR"] == str(tmp_path / "docs")


# A server on disk: each start of it serves the events up to the next "crash" and kills itself there.
FAKE_SERVER = """
import http.server, json, os, pathlib, signal, sys
data = pathlib.Path(os.environ["DATA_DIR"])
signal.signal(signal.SIGTERM, lambda *_: (data.joinpath("stopped").touch(), os._exit(0)))
with data.joinpath("starts").open("a") as starts:
    starts.write(f"{os.getpid()} {os.environ['PORT']}\\n")
plan = json.loads(data.joinpath("plan.json").read_text())
start = len(data.joinpath("starts").read_text().splitlines())
if start in plan["refuse"]:
    print("{} of stdout")
    sys.exit("The data folder is in use\\x1b[0m.")

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, content, kind="application/json", status=200):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *_): pass
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(b'{"invocation_id": "inv_abcdef", "thread_id": "t"}', status=202)
    def do_GET(self):
        if self.path == "/readiness":
            self.answer(b"{}")
        elif self.path == "/liveness":
            self.answer(b'{"status": "alive"}')
        elif "/report" in self.path:
            report = {"markdown": "# Report", "partial": plan["status"] != "completed"}
            self.answer(json.dumps(report).encode() if plan["report"] else b"{}", status=200 if plan["report"] else 404)
        elif "last_event_id" in self.path:
            self.stream(int(self.path.rpartition("=")[2]))
        else:
            record = {"invocation_id": "inv_abcdef", "topic": "Owls", "status": plan["status"]}
            self.answer(json.dumps(record | {"superseded_by": plan["by"]}).encode())
    def stream(self, last):
        self.answer(b"retry: 1000\\n\\n", "text/event-stream")
        for n in range(last + 1, 7):
            event = {"sequence_number": n, "type": "phase_end", "phase": n, "total": 6, "title": "T", "duration_sec": 1}
            self.wfile.write(f"id: {n}\\ndata: {json.dumps(event)}\\n\\n".encode())
            if start <= plan["crashes"]:
                os._exit(137)
            if n == plan["hang_after"]:
                signal.pause()
        self.wfile.write(b"event: done\\ndata: {}\\n\\n")

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Workplace:
    """A working folder in which `python -m server` is the fake server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "server").mkdir()
        (folder / "server" / "__init__.py").touch()
        (folder / "server" / "__main__.py").write_text(FAKE_SERVER)
        self.data.mkdir()
        self.plan()

    def plan(
        self,
        *,
        crashes: int = 0,
        refuse: tuple[int, ...] = (),
        hang_after: int = 0,
        status: str = "completed",
        by: str | None = None,
        report: bool = True,
    ) -> None:
        plan = {
            "crashes": crashes,
            "refuse": refuse,
            "hang_after": hang_after,
            "status": status,
            "by": by,
            "report": report,
        }
        (self.data / "plan.json").write_text(json.dumps(plan))

    @property
    def starts(self) -> list[list[str]]:
        return [line.split() for line in (self.data / "starts").read_text().splitlines()]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_DIR", "RESEARCH_SERVER", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # Without -P, it is the fake one of this folder.
    monkeypatch.setattr(server_process, "COMMAND", (sys.executable, "-m", "server"))
    return Workplace(tmp_path)


def research(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["research", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


PHASES = [f"Phase {n} of 6 done in 1.0 s: T" for n in range(1, 7)]


def test_run_from_the_command_line(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert research(monkeypatch, "run", "--embedded", "Owls") == 0
    out, err = capfd.readouterr()
    assert out == f"reports/{date.today()}-owls-abcdef.md\n"
    assert Path(out.strip()).read_text() == "# Report"
    assert err.splitlines() == PHASES
    assert (workplace.data / "stopped").exists()
    assert (workplace.data / "server.log").exists()
    assert not (workplace.data / "embedded.url").exists()


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("failed", 1), ("cancelled", 3), ("timed_out", 4), ("superseded", 5), ("odd", 2)],
)
def test_each_end_state_has_its_exit_code(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    workplace.plan(status=status, by="inv_2" if status == "superseded" else None)
    assert research(monkeypatch, "run", "--embedded", "Owls") == code
    out, err = capfd.readouterr()
    assert Path(out.strip()).read_text() == "# Report"
    assert ("Superseded by inv_2" in err) == (status == "superseded")


def test_a_run_without_a_report_prints_no_path(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workplace.plan(status="failed", report=False)
    assert research(monkeypatch, "run", "--embedded", "Owls") == 1
    assert capfd.readouterr().out == ""


def test_json_has_the_events_on_stdout(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    del workplace
    assert research(monkeypatch, "run", "--embedded", "--json", "Owls") == 0
    out, err = capfd.readouterr()
    assert [json.loads(line)["sequence_number"] for line in out.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert err.startswith("Report: reports/")


def test_the_run_goes_on_when_the_server_dies(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workplace.plan(crashes=5, refuse=(3,))
    assert research(monkeypatch, "run", "--embedded") == 0
    _out, err = capfd.readouterr()
    assert [line for line in err.splitlines() if line.startswith("Phase")] == PHASES
    assert "The server ended; starting it again (5 of 5)." in err
    assert len({port for _pid, port in workplace.starts}) == 1


def test_a_server_that_keeps_dying_is_given_up(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workplace.plan(crashes=6)
    assert research(monkeypatch, "run", "--embedded") == 2
    assert capfd.readouterr().err.splitlines()[-1] == "The server ended 6 times; its log says more."
    assert len(workplace.starts) == 6


def test_a_server_that_does_not_start_says_why(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workplace.plan(refuse=(1,))
    assert research(monkeypatch, "run", "--embedded") == 2
    assert capfd.readouterr() == ("", "The data folder is in use [0m.\n")


def test_a_server_that_is_never_ready_is_given_up(workplace: Workplace) -> None:
    (workplace.folder / "server" / "__main__.py").write_text("import signal; signal.pause()")
    environ = dict(os.environ)
    server = ServerProcess(environ, workplace.data / "log", start_limit_sec=1, monotonic=iter(range(100)).__next__)
    with pytest.raises(Exception, match="not ready after 1 s"):
        server.start()
    assert server.ended_within(0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--documents", "missing"], "The documents folder missing does not exist."),
        (["--documents", "a-file"], "The documents folder a-file does not exist."),
        (["--reports", "a-file"], "The reports folder a-file cannot be written: File exists."),
        (["--reports", "a-file/x"], "The reports folder a-file/x cannot be written: Not a directory."),
        (["--data", "a-file"], "The data folder a-file cannot be written: File exists."),
    ],
)
def test_unusable_folders_are_found_before_the_server_starts(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    Path("a-file").touch()
    assert research(monkeypatch, "run", "--embedded", *arguments) == 2
    assert capfd.readouterr() == ("", f"{sentence}\n")
    assert not (workplace.data / "starts").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--documents", ""], "a folder is needed"),
        (["run", "--phases", "0"], "--phases"),
        (["nonsense"], "nonsense"),
        (["status"], "holds no runs"),
        (["start", "Owls"], "No server answers"),
        (["list", "--server", "http://127.0.0.1:1"], "No research server answers at http://127.0.0.1:1."),
        (["list", "--server", "nonsense"], "No research server answers at nonsense."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    del workplace
    monkeypatch.setenv("PORT", "1")
    assert research(monkeypatch, *arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert research(monkeypatch, "--help") == 0
    shown = capfd.readouterr().out
    commands = ["run", "start", "attach", "steer", "cancel", "resume", "status", "list", "report"]
    commands += ["open", "crash", "doctor", "demo"]
    assert [name for name in commands if f" {name} " not in shown] == []
