"""What the Dockerfile makes: built in a clean folder, started as its user on a root that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.client import ResearchClient
from tests.acceptance.image import CHECKOUT, Image, in_context
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation
from tests.postgres_server import PostgresServer, binaries


def can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    script = 'mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay o -o "$1" /mnt/r'
    options = "lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w"
    command = ["unshare", "--mount", "sh", "-c", script, "sh", options]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_context_is_what_the_image_needs() -> None:
    assert in_context("server/app.py")
    assert in_context("requirements/run.txt")
    for path in (
        "requirements/dev.txt",
        "tests/fakes.py",
        "README.md",
        "server/__pycache__/app.pyc",
        ".env",
    ):
        assert not in_context(path), path


# One test, since every process that runs a part of it would build the image again.
@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="needs root and overlay mounts")
def test_the_image_runs_as_its_user_on_a_read_only_root(tmp_path: Path, image_databases: list[str | None]) -> None:
    with Image(tmp_path / "image") as image:
        _check_nothing_may_be_written(image)
        for number, database_url in enumerate(image_databases):
            _check_run(image, tmp_path / f"outside{number}", database_url)


@pytest.fixture
def image_databases(request: pytest.FixtureRequest) -> Iterator[list[str | None]]:
    """SQLite, and an empty PostgreSQL where there is one."""
    if binaries() is None and not os.environ.get("CI"):
        yield [None]
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield [None, url]
    server.drop_database(url)


def _check_run(image: Image, folder: Path, database_url: str | None) -> None:
    settings = {"NUM_PHASES": "1", "INTRA_PHASE_COOLDOWN_SEC": "0", "INTER_PHASE_COOLDOWN_SEC": "0"}
    shared = {"DATABASE_URL": database_url} if database_url else {}
    server = ServerProcess(folder, {}, command=image.command())
    server.set_env(**{**image.env, **settings, **shared, "PORT": str(server.port), "DATA_DIR": "/data"})
    with server, ResearchClient(server.url) as client:
        sent = client.request("POST", "/documents", params={"name": "bridges.md"}, content="# Bridges\n\nThey span.")
        config = {"documents": [sent.json()["document_id"]]}
        check_invocation(client, client.post("Bridges", config=config)["invocation_id"])
        user = Path(f"/proc/{_server_of(server.pid)}/status").read_text()
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in user
        for health, code in ((str(server.port), 0), ("1", 1)):
            asked = subprocess.run(image.command(probe=True), env={**image.env, "PORT": health}, check=False)
            assert asked.returncode == code
        assert server.terminate() == 0


def _check_nothing_may_be_written(image: Image) -> None:
    script = "import os; print([p for p in ('/', '/app', '/app/server', '/opt/venv', '/etc') if os.access(p, os.W_OK)])"
    command = list(image.command())
    command[command.index("-m") :] = ["-c", script]
    done = subprocess.run(command, env=image.env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_installs_the_lock_to_the_byte() -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    assert "--require-hashes -r run.txt" in dockerfile


def _server_of(pid: int) -> int:
    """The process itself: `unshare`, `chroot` and the like become it by exec, or stand before it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _server_of(int(children[0])) if children else pid
