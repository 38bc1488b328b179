"""`research doctor`: looks at the set-up from outside, and says what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2

from client.cli.embedded import lock_holder, running_at
from client.cli.errors import NoServer
from client.cli.place import Place, running_server
from client.cli.server_process import BESIDE
from client.cli.session import Session
from client.cli.view import write_json
from client.connection import trusts_environment
from client.fields import Fields, printable, text

OPENAI = "https://api.openai.com/v1"
LEAST_FREE_BYTES = 200_000_000
_TIMEOUT_SEC = 10.0
_SIGNS = {"ok": "ok", "note": "--", "wrong": "!!"}
_READ_SETTINGS = "from server.settings import read_settings; read_settings()"


@dataclass(frozen=True)
class Check:
    """What was looked at. `state`: ok, note (works, but look) or wrong; `advice` says what to do."""

    name: str
    state: str
    found: str
    advice: str = ""


def examine(place: Place, session: Session, *, as_json: bool) -> int:
    """The exit code: 2 where something is wrong."""
    checks = []
    for check in _checks(place, session):
        checks.append(check)
        if as_json:
            write_json(session.out, check.__dict__)
        else:
            session.print(f"{_SIGNS[check.state]}  {check.name}: {printable(check.found)}")
            if check.advice:
                session.print(f"    {printable(check.advice)}")
    wrong = sum(check.state == "wrong" for check in checks)
    session.say("All is well." if not wrong else f"{wrong} to be mended.")
    return 2 if wrong else 0


def _checks(place: Place, session: Session) -> Iterator[Check]:
    environ, last = session.environ, session.memory.load()
    yield _python()
    settings = _settings()
    yield settings
    data = place.data or Path(environ.get("DATA_DIR") or last.data or "data")
    yield _data_folder(data)
    yield _space(data)
    if settings.state == "ok":
        yield _database(data)
    yield from _server(place, session, data)
    if settings.state == "ok":
        yield _model(environ)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Check("Python", "ok", version)
    return Check("Python", "wrong", version, "Use Python 3.11, 3.12 or 3.13.")


def _settings() -> Check:
    """As a server that is started now would read them."""
    read = _asked("-c", _READ_SETTINGS)
    if read.returncode == 0:
        return Check("Settings", "ok", "the environment's can be used")
    said = (read.stderr.strip().splitlines() or ["they cannot be read"])[-1].removeprefix(
        "server.settings.SettingsInvalid: "
    )
    return Check("Settings", "wrong", said, "Mend the variable; `python -m server --help` shows all of them.")


def _asked(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the server's code says, in a process of its own: a client imports none of it."""
    path = os.pathsep.join([BESIDE, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(  # noqa: S603 - constants
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def _database(data: Path) -> Check:
    looked = _asked("-m", "server.database_check", DATA_DIR=str(data))
    if looked.returncode == 0:
        return Check("Database", "ok", looked.stdout.strip())
    said = (looked.stderr.strip().splitlines() or ["it cannot be looked at"])[-1]
    return Check("Database", "wrong", said, "See docs/operate.md: what to do when.")


def _data_folder(data: Path) -> Check:
    there = next(folder for folder in (data.resolve(), *data.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Check("Data folder", "wrong", f"{data} cannot be written: {error.strerror}", "Name another: DATA_DIR.")
    holder = lock_holder(data)
    if holder is None:
        return Check("Data folder", "ok", f"{data.resolve()}, not in use")
    return Check("Data folder", "ok", f"{data.resolve()}, in use by process {holder}")


def _space(data: Path) -> Check:
    there = next(folder for folder in (data.resolve(), *data.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.1f} GB free"
    if free >= LEAST_FREE_BYTES:
        return Check("Disk", "ok", said)
    return Check("Disk", "wrong", said, "Make room: a server whose disk is full takes no work.")


def _server(place: Place, session: Session, data: Path) -> Iterator[Check]:
    try:
        url = running_server(place, session.memory.load(), session.environ) or running_at(data)
    except NoServer as error:
        yield Check("Server", "wrong", str(error), "Start it, or leave RESEARCH_SERVER and --server away.")
        return
    if url is None:
        yield Check("Server", "note", "none is running", "`research run` brings its own; `make serve` starts one.")
        return
    yield _ready(url)


def _ready(url: str) -> Check:
    try:
        response = httpx2.get(f"{url}/readiness", timeout=_TIMEOUT_SEC, trust_env=trusts_environment(url))
        answer: Fields = response.json()
    except (httpx2.HTTPError, ValueError) as error:
        return Check("Server", "wrong", f"{url} does not answer ({type(error).__name__})", "Look into its log.")
    if response.status_code == 200:
        return Check("Server", "ok", f"{url} is ready")
    return Check("Server", "wrong", f"{url} is not ready: {text(answer, 'detail')}", "Look into its log.")


def _model(environ: Mapping[str, str]) -> Check:
    model = environ.get("RESEARCH_MODEL") or "offline"
    if model == "offline":
        return Check(
            "Model",
            "note",
            "offline: it only picks and orders sentences of the sources",
            "For real research set RESEARCH_MODEL=openai:<name> and OPENAI_API_KEY.",
        )
    return _endpoint(model, environ.get("OPENAI_BASE_URL") or OPENAI, environ.get("OPENAI_API_KEY", ""))


def _endpoint(model: str, base_url: str, key: str) -> Check:
    """Whether the endpoint takes the key; no model is called. The key is never shown."""
    try:
        response = httpx2.get(
            f"{base_url.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_SEC
        )
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        found = f"{base_url} cannot be reached ({type(error).__name__})"
        return Check("Model", "wrong", found, "Look at OPENAI_BASE_URL and the network.")
    if response.status_code in (401, 403):
        return Check("Model", "wrong", f"{base_url} refuses the key", "Look at OPENAI_API_KEY.")
    return Check("Model", "ok", f"{model} at {base_url}")
