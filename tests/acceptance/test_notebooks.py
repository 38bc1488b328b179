"""Every notebook in examples/ runs from its first cell to its last, and asks nothing of a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.acceptance.server_process import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "examples").glob("*.ipynb"))
EXPECTED = {
    "client-of-a-server",
    "crash-and-resume",
    "own-documents",
    "own-phases-and-search",
    "quickstart",
    "steer",
}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def test_all_are_there_and_committed_without_outputs() -> None:
    assert {path.stem for path in NOTEBOOKS} == EXPECTED
    for path in NOTEBOOKS:
        notebook = read(path)
        nbformat.validate(notebook)
        assert all(not cell.get("outputs") for cell in notebook.cells), path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keeps kernels and their children on this machine; what they tried is in the file."""
    log = tmp_path / "network.log"
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "tests" / "offline"))
    monkeypatch.setenv("OFFLINE_LOG", str(log))
    # Nothing of a reader's own kernels, and no key of theirs.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "API_KEYS"):
        monkeypatch.delenv(name, raising=False)
    return log


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_it_runs_to_its_end_without_a_network(path: Path, offline: Path) -> None:
    notebook = read(path)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    client.execute()
    assert not offline.exists(), offline.read_text()


@pytest.mark.parametrize("how", ["socket.create_connection(('192.0.2.1', 80), 1)", "socket.getaddrinfo('a.test', 80)"])
def test_what_would_ask_a_network_is_noticed(offline: Path, how: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import socket; {how}"], capture_output=True, text=True, check=False)
    assert "is beyond this machine" in done.stderr
    assert offline.read_text()
