"""Programs that some tests use, and what happens where one is missing: a skip here, a failure in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

CHECKOUT = Path(__file__).parents[2]
# What `.ci/run` installs, or how to get it.
HOW = {
    "chromium": "apt-get install chromium",
    "curl": "apt-get install curl",
    "nginx": "apt-get install nginx-light",
    "node": "apt-get install nodejs npm",
    "npm": "apt-get install nodejs npm",
    "langgraph": "make .venv/studio/.studio",
}


def needed(tool: str) -> str:
    """The path of a program; where it is missing, the test is skipped, and fails where CI is set."""
    beside = CHECKOUT / ".venv" / "studio" / "bin" / tool if tool == "langgraph" else None
    found = str(beside) if beside and beside.exists() else shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        missing(f"{tool} is not installed: {HOW[tool]}")
    return found


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
