"""A set-up that cannot work: one sentence on stderr that names what is wrong, an exit code, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server_process import CHECKOUT


def said(*arguments: str, **env: str) -> str:
    """What a server that cannot start says."""
    done = subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def refusal(folder: Path, **env: str) -> str:
    """The one sentence of a server that cannot start."""
    (line,) = said(**{"DATA_DIR": str(folder / "data"), **env}).splitlines()
    return line


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"HOST": "nowhere.invalid", "API_KEYS": "one:0123456789abcdef0123456789abcdef"}, "HOST"),
        ({"HOST": "192.0.2.1", "API_KEYS": "one:0123456789abcdef0123456789abcdef"}, "HOST"),
        ({"OPENAI_BASE_URL": "http://["}, "OPENAI_BASE_URL"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://[::1"}, "DATABASE_URL"),
        ({"API_KEYS": "/nowhere/at/all"}, "API_KEYS"),
    ],
)
def test_the_setting_at_fault_is_named(tmp_path: Path, env: dict[str, str], named: str) -> None:
    assert refusal(tmp_path, **env).startswith(f"error: {named}: ")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(tmp_path, PORT=str(port)).startswith(f"error: PORT: 127.0.0.1:{port} cannot be used")


@pytest.mark.parametrize("place", ["data", "data/lock/inside", "data/server.sqlite/inside", "data/checkpoints.sqlite"])
def test_a_folder_that_cannot_hold_the_data_is_named(tmp_path: Path, place: str) -> None:
    at_fault = tmp_path / place
    at_fault.parent.mkdir(parents=True, exist_ok=True)
    at_fault.write_bytes(b"no database" * 1000)
    assert str(tmp_path / "data") in refusal(tmp_path)


@pytest.mark.parametrize("role", ["api", "worker"])
def test_sqlite_has_one_process(role: str, tmp_path: Path) -> None:
    (line,) = said("--role", role, DATA_DIR=str(tmp_path)).splitlines()
    assert line.startswith("error: ")
    assert f"ROLE={role}" in line
    assert "DATABASE_URL" in line
    assert said(ROLE=role, DATA_DIR=str(tmp_path)) == line + "\n"


def test_the_argument_comes_before_the_variable() -> None:
    assert "ROLE=worker" in said("--role", "worker", ROLE="api")


def test_an_unknown_role_names_those_there_are() -> None:
    text = said("--role", "boss")
    assert all(role in text for role in ("all", "api", "worker"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:planted-secret@127.0.0.1:1/x",
        "postgresql://someone:planted-secret@127.0.0.1:1/x?nonsense=1",
        "mysql://someone:planted-secret@127.0.0.1/x",
    ],
)
def test_a_database_that_cannot_be_had_is_one_sentence(url: str) -> None:
    (line,) = said(DATABASE_URL=url).splitlines()
    assert line.startswith("error: DATABASE_URL: ")
    assert "planted-secret" not in line
