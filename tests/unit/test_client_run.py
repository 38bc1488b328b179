"""The command `run`: its report, its exit codes, and its server's life, with a fake server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.__main__ import main
from client.embedded import server_environment
from client.event import Event
from client.progress import Progress
from client.report_file import report_path, slug, write_report
from client.run import DEFAULT_TOPIC, RunOptions, research, topic_of
from client.screen import Screen
from client.server_process import ServerProcess

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 23)
INVOCATION = "inv_0123456789abcdef0123456789abcdef"

RUN: list[Event] = [
    {"type": "token", "content": "Owls are"},
    {"type": "phase_end", "phase": 1, "total": 1, "title": "Scope", "duration_sec": 2},
]

LINES = ["Phase 1 of 1 done in 2.0 s: Scope"]


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
    [(None, DEFAULT_TOPIC), ("", DEFAULT_TOPIC), (" \n\t", DEFAULT_TOPIC), (" Owls ", "Owls"), ("a\udcff", "a?")],
)
def test_topic(given: str | None, topic: str) -> None:
    assert topic_of(given) == topic


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    environ = {"LOG_LEVEL": "debug", "INTRA_PHASE_COOLDOWN_SEC": "9", "INTER_PHASE_COOLDOWN_SEC": ""}
    assert server_environment(tmp_path / "d", None, environ) == {
        "INTER_PHASE_COOLDOWN_SEC": "0.3",
        "DATA_DIR": str(tmp_path / "d"),
    }
    assert server_environment(tmp_path, tmp_path / "docs", {})["DOCUMENTS_DIR"] == str(tmp_path / "docs")


class FakeApi:
    """The server's side of one run that ends in `record`."""

    def __init__(self, record: Event, report: bytes | None = b"# Owls\n", lost_posts: int = 0) -> None:
        self.record, self.report, self.lost_posts = record, report, lost_posts
        self.posts: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return self._post(request)
        if request.url.path.endswith("/report"):
            return httpx2.Response(404) if self.report is None else httpx2.Response(200, content=self.report)
        if request.headers["accept"] == "application/json":
            return httpx2.Response(200, json=self.record)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream_of(RUN))

    def _post(self, request: httpx2.Request) -> httpx2.Response:
        self.posts.append(request)
        if len(self.posts) <= self.lost_posts:
            raise httpx2.ReadError("cut")
        return httpx2.Response(202, json={"status": "started", "invocation_id": INVOCATION})

    def research(self, tmp_path: Path) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, screen = io.BytesIO(), io.StringIO()
        options = RunOptions("Owls", None, tmp_path, tmp_path)
        progress = Progress(Screen(screen, {}))
        with httpx2.Client(transport=httpx2.MockTransport(self), base_url="http://server") as http:
            code = research(http, options, progress=progress, out=out, today=TODAY, sleep=lambda _: None)
        return code, out.getvalue().decode(), screen.getvalue()


def stream_of(events: list[Event]) -> bytes:
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events, 1)]
    frames = [f"id: {event['sequence_number']}\ndata: {json.dumps(event)}\n\n" for event in numbered]
    return "".join([*frames, "event: done\ndata: {}\n\n"]).encode()


def test_a_completed_run_writes_its_report_and_prints_its_path(tmp_path: Path) -> None:
    code, out, err = FakeApi({"status": "completed"}).research(tmp_path)
    assert (code, out) == (0, f"{tmp_path}/2026-11-23-owls-abcdef.md\n")
    assert Path(out.strip()).read_bytes() == b"# Owls\n"
    assert err.splitlines() == LINES


@pytest.mark.parametrize(
    ("record", "code", "sentence"),
    [
        ({"status": "failed", "error": {"message": "no\x1b quota"}}, 1, "The run failed: no quota"),
        ({"status": "failed", "error": None}, 1, "The run failed: the server gives no reason"),
        ({"status": "cancelled"}, 3, "The run was cancelled."),
        ({"status": "timed_out"}, 4, "The run was stopped at its time limit."),
        ({"status": "superseded", "superseded_by": "inv_2"}, 5, "The run was superseded by inv_2."),
        ({"status": "odd"}, 2, "The run ended in a state that this client does not know: odd."),
    ],
)
def test_other_ends_have_their_code_and_sentence(tmp_path: Path, record: Event, code: int, sentence: str) -> None:
    got, out, err = FakeApi(record).research(tmp_path)
    assert (got, err.splitlines()[-1]) == (code, sentence)
    assert Path(out.strip()).read_bytes() == b"# Owls\n"
    got, out, err = FakeApi(record, report=None).research(tmp_path)
    assert (got, out, err.splitlines()[-1]) == (code, "", sentence)


def test_a_lost_post_is_sent_again_under_its_key(tmp_path: Path) -> None:
    api = FakeApi({"status": "completed"}, lost_posts=2)
    assert api.research(tmp_path)[0] == 0
    assert len({request.headers["idempotency-key"] for request in api.posts}) == 1
    assert [json.loads(request.content) for request in api.posts] == [{"message": "Owls"}] * 3


class Interrupting(Progress):
    def take(self, _event: Event) -> None:
        raise KeyboardInterrupt


def test_the_way_to_go_on_names_the_run_s_own_folders(tmp_path: Path) -> None:
    screen = io.StringIO()
    options = RunOptions("Owls", tmp_path / "my docs", tmp_path, tmp_path)
    api = httpx2.MockTransport(FakeApi({}))
    with httpx2.Client(transport=api, base_url="http://server") as http, pytest.raises(KeyboardInterrupt):
        research(
            http,
            options,
            progress=Interrupting(Screen(screen, {})),
            out=io.BytesIO(),
            today=TODAY,
            sleep=lambda _: None,
        )
    assert f"`DATA_DIR={tmp_path} DOCUMENTS_DIR='{tmp_path}/my docs' make serve`" in screen.getvalue()


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
        self.answer(b'{"invocation_id": "inv_abcdef"}', status=202)
    def do_GET(self):
        if self.path == "/readiness":
            self.answer(b"{}")
        elif self.path.endswith("/report"):
            self.answer(b"# Report", "text/markdown")
        elif "last_event_id" in self.path:
            self.stream(int(self.path.rpartition("=")[2]))
        else:
            self.answer(b'{"status": "completed"}')
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

    def plan(self, *, crashes: int = 0, refuse: tuple[int, ...] = (), hang_after: int = 0) -> None:
        plan = {"crashes": crashes, "refuse": refuse, "hang_after": hang_after}
        (self.data / "plan.json").write_text(json.dumps(plan))

    @property
    def starts(self) -> list[list[str]]:
        return [line.split() for line in (self.data / "starts").read_text().splitlines()]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    return Workplace(tmp_path)


PHASES = [f"Phase {n} of 6 done in 1.0 s: T" for n in range(1, 7)]


def test_run_from_the_command_line(workplace: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "Owls"], {}) == 0
    out, err = capfd.readouterr()
    assert out == f"reports/{date.today()}-owls-abcdef.md\n"
    assert Path(out.strip()).read_text() == "# Report"
    assert err.splitlines() == PHASES
    assert (workplace.data / "stopped").exists()
    assert (workplace.data / "server.log").exists()


def test_the_run_goes_on_when_the_server_dies(workplace: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    workplace.plan(crashes=5, refuse=(3,))
    assert main(["run"], {}) == 0
    _out, err = capfd.readouterr()
    assert [line for line in err.splitlines() if line.startswith("Phase")] == PHASES
    assert "The server ended; starting it again (5 of 5)." in err
    assert len({port for _pid, port in workplace.starts}) == 1


def test_a_server_that_keeps_dying_is_given_up(workplace: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    workplace.plan(crashes=6)
    assert main(["run"], {}) == 2
    assert capfd.readouterr().err.splitlines()[-1] == "The server ended 6 times; its log says more."
    assert len(workplace.starts) == 6


def test_a_server_that_does_not_start_says_why(workplace: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    workplace.plan(refuse=(1,))
    assert main(["run"], {}) == 2
    assert capfd.readouterr() == ("", "The data folder is in use [0m.\n")


def test_a_server_that_is_never_ready_is_given_up(workplace: Workplace) -> None:
    (workplace.folder / "server" / "__main__.py").write_text("import signal; signal.pause()")
    server = ServerProcess({}, workplace.data / "log", start_limit_sec=1, monotonic=iter(range(100)).__next__)
    with pytest.raises(Exception, match="not ready after 1 s"):
        server.start()
    assert server.ended_within(0)


def test_ctrl_c_stops_the_server_and_says_how_to_go_on(workplace: Workplace) -> None:
    workplace.plan(hang_after=2)
    command = [sys.executable, "-m", "client", "run", "Owls", "--data", "data"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stderr is not None
        assert [client.stderr.readline().strip() for _ in range(2)] == PHASES[:2]
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(timeout=30)
    assert (client.returncode, out) == (130, "")
    assert err == "Stopping. The run inv_abcdef is saved and continues next time with `make serve`.\n"
    assert (workplace.data / "stopped").exists()


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
    workplace: Workplace, capfd: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    Path("a-file").touch()
    assert main(["run", *arguments], {}) == 2
    assert capfd.readouterr() == ("", f"{sentence}\n")
    assert not (workplace.data / "starts").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == 0
    assert "usage: python -m client" in capsys.readouterr().out


def test_no_command_is_an_error_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {}) == 2
    assert "run " in capsys.readouterr().err


def test_an_empty_folder_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--documents", ""], {})
    assert "a folder is needed" in capsys.readouterr().err
