"""A set-up that cannot work: one sentence on stderr that names what is wrong, an exit code, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server_process import CHECKOUT


def refusal(folder: Path, **env: str) -> str:
    """What the server says on stderr before it ends."""
    own = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data"), "PORT": "0"}
    command = [sys.executable, "-m", "server"]
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=own | env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
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
