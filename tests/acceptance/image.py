"""The Dockerfile done step by step, where there is no Docker: each stage is a layer over this machine's own system.

What is not tested so is the base image: `python` is this machine's. Needs root, and overlay mounts.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CHECKOUT: Final = Path(__file__).parents[2]


@dataclass
class Stage:
    """A layer, and what its instructions set for those behind them."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """`(name, rest)` of each instruction, comments left out and lines joined."""
    lines = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    whole = re.sub(r"\\\n", " ", lines)
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def in_context(path: str) -> bool:
    """Whether `.dockerignore` lets a path through: the last rule that fits decides."""
    kept = True
    for rule in (CHECKOUT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!")
        if pattern and not pattern.startswith("#") and _fits(path, pattern):
            kept = rule.startswith("!")
    return kept


def _fits(path: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in path.split("/"))
    return path == pattern or path.startswith(f"{pattern}/")


class Image:
    """The last stage of a build. `folder` is to be made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._stages: dict[str, Stage] = {}
        self._stage: Stage
        # Its mounts go with it. Before it says a word, its namespace is still this machine's.
        holder = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(holder, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()

    def __enter__(self) -> Self:
        self._inside("mount", "-t", "tmpfs", "tmpfs", str(self._folder))
        for name, rest in instructions((CHECKOUT / "Dockerfile").read_text()):
            getattr(self, f"_{name.lower()}")(rest)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def stage(self) -> Stage:
        return self._stage

    def command(self, *arguments: str, probe: bool = False) -> tuple[str, ...]:
        """How its entrypoint, or its healthcheck, is started: as its user, on a root that cannot be written."""
        stage = self._stage
        called = stage.healthcheck if probe else [*stage.entrypoint, *arguments]
        change = ["setpriv", f"--reuid={stage.user}", f"--regid={stage.user}", "--clear-groups", "--no-new-privs"]
        inner = ["chroot", str(stage.root), *change, "env", "-C", stage.workdir, *called]
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--"]
        # The mount is changed in a namespace of its own, so that the build goes on.
        read_only = f'mount -o remount,ro,bind "{stage.root}" && exec "$@"'
        return (*enter, "unshare", "--mount", "sh", "-c", read_only, "sh", *inner)

    @property
    def env(self) -> dict[str, str]:
        return self._environment()

    def _environment(self) -> dict[str, str]:
        python = str(Path(sys.base_prefix) / "bin")
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        return {**kept, "PATH": f"{python}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", **self._stage.env}

    def _inside(self, *command: str, env: dict[str, str] | None = None) -> None:
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--", *command]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"

    def _from(self, rest: str) -> None:
        name = rest.partition(" AS ")[2] or "last"
        layer = self._folder / name
        parts = {part: layer / part for part in ("upper", "work", "root")}
        self._inside("mkdir", "-p", *map(str, parts.values()))
        options = f"lowerdir=/,upperdir={parts['upper']},workdir={parts['work']}"
        self._inside("mount", "-t", "overlay", "overlay", "-o", options, str(parts["root"]))
        root = parts["root"]
        for place in ("dev", "proc"):
            self._inside("mount", "--rbind", f"/{place}", f"{root}/{place}")
        self._inside("mount", "-t", "tmpfs", "tmpfs", f"{root}/tmp")
        for parent in (Path(sys.base_prefix), *Path(sys.base_prefix).parents[:-1]):
            self._inside("chmod", "a+x", f"{root}{parent}")
        self._stage = self._stages[name] = Stage(root)

    def _workdir(self, rest: str) -> None:
        self._stage.workdir = rest
        self._inside("mkdir", "-p", f"{self._stage.root}{rest}")

    def _copy(self, rest: str) -> None:
        if rest.startswith("--from="):
            option, source, target = rest.split()
            origin = str(self._stages[option.removeprefix("--from=")].root) + source
        else:
            source, target = rest.split()
            origin = str(self._context(source))
        target = Path(source).name if target == "." else target
        absolute = target if target.startswith("/") else f"{self._stage.workdir}/{target}"
        self._inside("cp", "-a", "-T", origin, f"{self._stage.root}{absolute}")

    def _context(self, source: str) -> Path:
        """What Docker would be sent of `source`."""
        sent = self._folder.with_name("context") / source
        shutil.rmtree(sent, ignore_errors=True)
        found = CHECKOUT / source
        paths = [path for path in found.rglob("*") if path.is_file()] if found.is_dir() else [found]
        for path in paths:
            name = path.relative_to(CHECKOUT).as_posix()
            if in_context(name):
                copy = self._folder.with_name("context") / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        assert sent.exists(), f".dockerignore keeps {source} out"
        return sent

    def _run(self, rest: str) -> None:
        shell = f"cd '{self._stage.workdir}' && {rest}"
        self._inside("chroot", str(self._stage.root), "/bin/sh", "-e", "-c", shell, env=self._environment())

    def _env(self, rest: str) -> None:
        self._stage.env |= dict(pair.split("=", 1) for pair in rest.split())

    def _volume(self, rest: str) -> None:
        self._stage.volumes.append(rest)
        self._inside("mount", "-t", "tmpfs", "-o", "uid=10001,mode=755", "tmpfs", f"{self._stage.root}{rest}")

    def _user(self, rest: str) -> None:
        self._stage.user = rest

    def _healthcheck(self, rest: str) -> None:
        self._stage.healthcheck = json.loads(rest.partition("CMD ")[2])

    def _entrypoint(self, rest: str) -> None:
        self._stage.entrypoint = json.loads(rest)
