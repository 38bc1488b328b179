"""What `--role` and `DATABASE_URL` say where they cannot be had: one sentence, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def said(*arguments: str, **env: str) -> str:
    """What a server that cannot start says."""
    done = subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


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
